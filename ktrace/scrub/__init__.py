"""Takes key material (and on request data and addresses) out of a log, and nothing else.

`view.py` undoes, for the search only, what mail and web did to a log and remembers where each byte
stands; `keys.py`, `payload.py` and `addresses.py` find what has to go; `proof.py` reads what is
written as `ktrace parse` would, and refuses it where that still sees a key; `job.py` has the files.
"""
