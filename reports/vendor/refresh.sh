#!/bin/sh
# Make ../templates/vendor anew from npm: one bundle, and the licences and versions of what is in it.
# To take newer versions, change package.json and give --update.
set -eu
cd "$(dirname "$0")"
out=$PWD/../templates/vendor
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cp package.json entry.js "$build"
[ "${1-}" = --update ] || cp package-lock.json "$build"
cd "$build"
if [ "${1-}" = --update ]; then
    npm install --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved
    cp package-lock.json "$OLDPWD"
else
    npm ci --ignore-scripts --no-audit --no-fund
fi
./node_modules/.bin/esbuild entry.js --bundle --minify --charset=ascii --target=es2020 \
    --format=iife --global-name=vendor --legal-comments=none --metafile=meta.json --outfile=vendor.js
node - "$out" <<'EOF'
const fs = require("fs");
const out = process.argv[2];
const inputs = Object.keys(JSON.parse(fs.readFileSync("meta.json")).inputs);
const names = new Set(inputs.map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]).filter(Boolean));
const notices = [];
let licences = "# Libraries in vendor.js\n\nWritten by `make vendor`; do not edit. "
  + "The report embeds parts of these npm packages, minified and otherwise unchanged.\n";
for (const name of [...names].sort()) {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(fs.readFileSync(`${folder}/package.json`));
  const file = fs.readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const text = fs.readFileSync(`${folder}/${file}`, "utf8").trim();
  notices.push(`${name} ${version}, ${license}, ${text.match(/^copyright.*$/im)[0]}`);
  licences += `\n## ${name} ${version} (${license})\n\n${text}\n`;
}
fs.writeFileSync(`${out}/LICENSES.md`, licences);
fs.writeFileSync(`${out}/vendor.js`, `/*! ${notices.join("\n    ")} */\n` + fs.readFileSync("vendor.js", "utf8"));
EOF
