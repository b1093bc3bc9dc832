"""A ruleset as nft prints it: `nft -f` loads it, and what nft lists of the same table reads the same."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from seaway.net.family import Family
from seaway.proxy.nftables.diff import (
    AddElements,
    Command,
    DeleteElements,
    Forget,
    Remind,
    ReplaceElements,
    SetRules,
    Transaction,
)
from seaway.proxy.nftables.elements import REMEMBERED, type_length
from seaway.proxy.nftables.objects import (
    ArrivesBy,
    Chain,
    Comment,
    Drop,
    Field,
    FlipMark,
    Goto,
    GotoByHash,
    GotoInTurn,
    GotoRandom,
    Hook,
    InNetwork,
    InSet,
    IsLocal,
    IsMarked,
    IsNew,
    IsReply,
    IsTranslated,
    Jump,
    LeavesBy,
    MasqueradeSource,
    Reject,
    Remember,
    Return,
    Rule,
    Ruleset,
    SetMark,
    SetSpec,
    Statement,
    TranslateTo,
    TurnOnTrace,
    Type,
    Value,
    Verdict,
    Vmap,
)

_PROTOCOL_NAMES = {6: "tcp", 17: "udp", 132: "sctp"}
_PRIORITY_NAMES = {("prerouting", -100): "dstnat", ("postrouting", 100): "srcnat"}


def render_text(ruleset: Ruleset) -> str:
    """The table in nft's language; sets and chains by name, base chains last."""
    keyword = _family_name(ruleset.family)
    lines = [f"table {keyword} {ruleset.table} {{"]
    for name, spec in sorted(ruleset.structure.sets.items()):
        lines += _set_lines(name, spec, ruleset)
    for name, chain in sorted(ruleset.structure.chains.items(), key=lambda item: (item[1].hook is not None, item[0])):
        lines += _chain_lines(name, chain, ruleset.family)
    lines.append("}")
    return "\n".join(lines) + "\n"


def render_transaction(transaction: Transaction, family: Family) -> str:
    """One line for each command, elements on lines of their own: for reading, not for loading."""
    return "".join(line + "\n" for command in transaction.commands for line in _command_lines(command, family))


def _command_lines(command: Command, family: Family) -> Iterator[str]:
    match command:
        case AddElements(name, spec, elements) | DeleteElements(name, spec, elements):
            verb = "add" if isinstance(command, AddElements) else "delete"
            for key, value in elements:
                yield f"{verb} element {name} {format_element(key, value, spec, family)}"
        case ReplaceElements(name, spec, before, after):
            for (key, old), (_, new) in zip(before, after, strict=True):
                yield (
                    f"replace element {name} {format_element(key, old, spec, family)}"
                    f" by {format_element(key, new, spec, family)}"
                )
        case Forget(name, keys):
            yield f"forget {len(keys)} in {name}"
        case Remind(name, entries):
            yield f"remind {name} of {len(entries)}"
        case SetRules(name, chain, _):
            yield f"set rules {name}"
            yield from (f"    {format_rule(rule, family)}" for rule in chain.rules or ())
        case _:
            words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(command).__name__).strip()
            yield f"{words} {getattr(command, 'name', '')}".rstrip()


def _set_lines(name: str, spec: SetSpec, ruleset: Ruleset) -> list[str]:
    kind = "map" if spec.data or spec.is_verdict_map else "set"
    lines = [f"\t{kind} {name} {{", f"\t\ttype {_format_types(spec, ruleset.family)}"]
    if spec.is_interval:
        lines.append("\t\tflags interval")
    if spec.is_counted:
        lines.append("\t\tcounter")
    if spec.timeout_seconds is not None:
        lines += [
            f"\t\tsize {REMEMBERED}",
            "\t\tflags dynamic,timeout",
            f"\t\ttimeout {format_seconds(spec.timeout_seconds)}",
        ]
    elements = ruleset.elements.get(name, {})
    if elements:
        shown = [format_element(key, elements[key], spec, ruleset.family) for key in sorted(elements)]
        lines.append("\t\telements = { " + ",\n\t\t\t     ".join(shown) + " }")
    return [*lines, "\t}", ""]


def _format_types(spec: SetSpec, family: Family) -> str:
    key = " . ".join(_type_name(t, family) for t in spec.key)
    if spec.is_verdict_map:
        return f"{key} : verdict"
    return f"{key} : {' . '.join(_type_name(t, family) for t in spec.data)}" if spec.data else key


def _type_name(kind: Type, family: Family) -> str:
    if kind is Type.ADDRESS:
        return "ipv4_addr" if family is Family.IPV4 else "ipv6_addr"
    return {Type.PROTOCOL: "inet_proto", Type.SERVICE: "inet_service", Type.MARK: "mark"}[kind]


def _chain_lines(name: str, chain: Chain, family: Family) -> list[str]:
    lines = [f"\tchain {name} {{"]
    if chain.hook is not None:
        lines.append(
            f"\t\ttype {chain.hook.type} hook {chain.hook.hook} priority {_priority(chain.hook)}; policy accept;"
        )
    lines += [f"\t\t{format_rule(rule, family)}" for rule in chain.rules or ()]
    return [*lines, "\t}", ""]


def _priority(hook: Hook) -> str:
    if hook.priority == 0:
        return "filter"
    if hook.hook == "prerouting" and hook.priority == -110:
        return "dstnat - 10"
    return _PRIORITY_NAMES.get((hook.hook, hook.priority), str(hook.priority))


def format_element(key: bytes, value: Value, spec: SetSpec, family: Family) -> str:
    """`10.96.0.1 . tcp . 80 : goto pick-2`."""
    shown = _format_interval(key, spec, family) if spec.is_interval else _format_parts(key, spec.key, family)
    if spec.is_counted:
        shown += " counter packets 0 bytes 0"
    match value:
        case Verdict(chain):
            return f"{shown} : {f'goto {chain}' if chain else 'drop'}"
        case bytes():
            return f"{shown} : {_format_parts(value, spec.data, family)}"
        case Comment(text):
            return f'{shown} comment "{text}"'
        case None:
            return shown


def _format_parts(packed: bytes, types: tuple[Type, ...], family: Family) -> str:
    return " . ".join(
        _format_value(part, kind) for part, kind in zip(_split(packed, types, family), types, strict=True)
    )


def _format_interval(key: bytes, spec: SetSpec, family: Family) -> str:
    half = len(key) // 2
    first, last = _split(key[:half], spec.key, family), _split(key[half:], spec.key, family)
    shown: list[str] = []
    for low, high, kind in zip(first, last, spec.key, strict=True):
        if low == high:
            shown.append(_format_value(low, kind))
        elif kind is Type.SERVICE:
            shown.append(f"{_format_value(low, kind)}-{_format_value(high, kind)}")
        else:
            ends = ipaddress.ip_address(low), ipaddress.ip_address(high)
            shown += (str(n) for n in ipaddress.summarize_address_range(*ends))
    return " . ".join(shown)


def _split(packed: bytes, types: tuple[Type, ...], family: Family) -> list[bytes]:
    parts, offset = [], 0
    for kind in types:
        length = type_length(kind, family)
        parts.append(packed[offset : offset + length])
        offset += (length + 3) & ~3
    return parts


def _format_value(part: bytes, kind: Type) -> str:
    match kind:
        case Type.ADDRESS:
            return str(ipaddress.ip_address(part))
        case Type.PROTOCOL:
            return _PROTOCOL_NAMES.get(part[0], str(part[0]))
        case Type.SERVICE:
            return str(int.from_bytes(part, "big"))
        case Type.MARK:
            return f"0x{int.from_bytes(part, 'little'):08x}"


def format_rule(rule: Rule, family: Family) -> str:
    """One rule, as nft lists it."""
    return " ".join(_format_statement(statement, family) for statement in rule)


def _format_statement(statement: Statement, family: Family) -> str:
    match statement:
        case InSet(fields, name):
            return f"{_format_fields(fields, family)} @{name}"
        case Remember(fields, name):
            return f"update @{name} {{ {_format_fields(fields, family)} }}"
        case Vmap(fields, name):
            return f"{_format_fields(fields, family)} vmap @{name}"
        case TranslateTo(fields, name, keeps_port):
            kind = "" if keeps_port else f"{_family_name(family)} "
            return f"dnat {kind}to {_format_fields(fields, family)} map @{name}"
        case InNetwork(field, network, negate):
            return f"{_format_fields((field,), family)} {'!= ' if negate else ''}{_format_network(network)}"
        case IsLocal(field):
            return f"fib {field.value} type local"
        case ArrivesBy(link, negate, is_prefix):
            return f'iifname {"!= " if negate else ""}"{link}{"*" if is_prefix else ""}"'
        case LeavesBy(link, negate):
            return f'oifname {"!= " if negate else ""}"{link}"'
        case IsMarked(mask):
            return f"meta mark & 0x{mask:08x} != 0x00000000"
        case SetMark(mask):
            return f"meta mark set meta mark | 0x{mask:08x}"
        case FlipMark(mask):
            return f"meta mark set meta mark ^ 0x{mask:08x}"
        case TurnOnTrace():
            return "meta nftrace set 1"
        case GotoRandom(chains):
            return f"numgen random mod {_format_draw(chains)}"
        case GotoInTurn(chains):
            return f"numgen inc mod {_format_draw(chains)}"
        case GotoByHash(chains, seed):
            modulus, _, targets = _format_draw(chains).partition(" ")
            return f"jhash {_format_fields((Field.SADDR,), family)} mod {modulus} seed 0x{seed:x} {targets}"
        case Jump(chain):
            return f"jump {chain}"
        case Goto(chain):
            return f"goto {chain}"
        case _:
            return _WORDS[type(statement)]


def _format_draw(chains: tuple[str, ...]) -> str:
    targets = ", ".join(f"{index} : goto {chain}" for index, chain in enumerate(chains))
    return f"{len(chains)} vmap {{ {targets} }}"


_WORDS: dict[type[Statement], str] = {
    IsNew: "ct state new",
    IsReply: "ct state established,related",
    IsTranslated: "ct status dnat",
    MasqueradeSource: "masquerade fully-random",
    Return: "return",
    Drop: "drop",
    Reject: "reject",
}


def format_seconds(seconds: int) -> str:
    """`3h`, `1m30s`, as nft writes it."""
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _format_fields(fields: tuple[Field, ...], family: Family) -> str:
    names = {
        Field.SADDR: f"{_family_name(family)} saddr",
        Field.DADDR: f"{_family_name(family)} daddr",
        Field.L4PROTO: "meta l4proto",
        Field.DPORT: "th dport",
    }
    return " . ".join(names[field] for field in fields)


def _format_network(network: str) -> str:
    parsed = ipaddress.ip_network(network)
    return str(parsed.network_address) if parsed.prefixlen == parsed.max_prefixlen else str(parsed)


def _family_name(family: Family) -> str:
    return "ip" if family is Family.IPV4 else "ip6"
