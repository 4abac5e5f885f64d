"""The list of rules, in the order of their codes."""

from ktrace.rules.base import Rule
from ktrace.rules.calls_not_covered import CallsNotCovered
from ktrace.rules.events_lost import EventsLost
from ktrace.rules.key_material_in_log import KeyMaterialInLog
from ktrace.rules.keys_rejected import KeysRejected
from ktrace.rules.keys_without_ulp import KeysWithoutUlp
from ktrace.rules.lines_not_understood import LinesNotUnderstood
from ktrace.rules.permission_denied import PermissionDenied
from ktrace.rules.rekey_refused import RekeyRefused
from ktrace.rules.rx_only import RxOnly
from ktrace.rules.tls_ulp_unavailable import TlsUlpUnavailable
from ktrace.rules.tx_only import TxOnly
from ktrace.rules.ulp_after_close import UlpAfterClose
from ktrace.rules.ulp_before_established import UlpBeforeEstablished
from ktrace.rules.ulp_never_keyed import UlpNeverKeyed
from ktrace.rules.ulp_on_unconnected_socket import UlpOnUnconnectedSocket
from ktrace.rules.ulp_refused import UlpRefused
from ktrace.rules.ulp_unordered_with_connect import UlpUnorderedWithConnect

RULES: list[Rule] = [
    UlpBeforeEstablished(),
    UlpUnorderedWithConnect(),
    UlpOnUnconnectedSocket(),
    UlpAfterClose(),
    TlsUlpUnavailable(),
    UlpRefused(),
    KeysWithoutUlp(),
    KeysRejected(),
    RekeyRefused(),
    PermissionDenied(),
    TxOnly(),
    RxOnly(),
    UlpNeverKeyed(),
    EventsLost(),
    CallsNotCovered(),
    LinesNotUnderstood(),
    KeyMaterialInLog(),
]
