"""Why an answer is what it is, as one sentence. Rule: spec "discovery" A0.3-A0.5, A1."""

from __future__ import annotations

from seaway.dns.answer import Answer, Chase, Elsewhere, Outcome
from seaway.dns.index import Index
from seaway.dns.lookup import ZoneConfig, find_alias
from seaway.dns.objects import Service
from seaway.dns.query import Question, Shape
from seaway.dns.records import RRType, render_name

_SHAPES = {
    Shape.APEX: "the cluster domain itself",
    Shape.NAME_SERVER: "where this server is reached",
    Shape.VERSION: "the version of the names' schema",
    Shape.ENDPOINT: "the endpoint of that name",
    Shape.REVERSE: "the Service, or else the endpoints, that have the address",
}


def explain_outcome(question: Question, found: Answer | Chase | Elsewhere, index: Index, config: ZoneConfig) -> str:
    """The sentence; it begins in lower case and has no full stop."""
    match found:
        case Chase(target=target):
            return f"an alias to {render_name(target)}, which lies outside: an upstream is asked for it"
        case Elsewhere():
            if question.shape is Shape.ELSEWHERE:
                return "of no zone of ours: an upstream is asked"
            return f"{_explain_absence(question, index, config)}, and the zone falls through: an upstream is asked"
        case Answer(outcome=Outcome.REFUSED):
            return "a zone is transferred whole, over TCP, and to those who may have it"
        case Answer(outcome=Outcome.NOT_SYNCED):
            return "the first list has not arrived"
        case Answer(outcome=Outcome.NXDOMAIN):
            return _explain_absence(question, index, config)
        case Answer(outcome=Outcome.NODATA):
            return _explain_no_data(question, index)
    return _explain_records(question, index, config)


def _explain_records(question: Question, index: Index, config: ZoneConfig) -> str:
    if question.shape is Shape.POD:
        return "the address in the name" + ("; that a Pod has it is not checked" * (config.pods == "insecure"))
    service = _find_service(question, index)
    if service is None or question.shape not in (Shape.SERVICE, Shape.PORT):
        return _SHAPES.get(question.shape, str(question.shape.value))
    if service.is_external:
        return f"an alias to {service.spec.external_name}"
    if service.is_headless:
        return "headless: the endpoints that are ready"
    return "the cluster IP, whatever the endpoints are"


def _explain_no_data(question: Question, index: Index) -> str:
    service = _find_service(question, index)
    if service is not None and service.is_external:
        if question.qtype in (RRType.A, RRType.AAAA):
            return "the alias leads nowhere inside the zone, or in a circle, or to nothing of that family"
        return "an external name has an alias and nothing else"
    if question.qtype in (RRType.A, RRType.AAAA):
        if question.shape in (Shape.SERVICE, Shape.PORT, Shape.ENDPOINT, Shape.POD, Shape.NAME_SERVER):
            return "the name has no address of that family"
        return "the name exists, for the names below it"
    if question.qtype == RRType.SRV and service is not None:
        return "the name has no port"
    return "the name exists, without records of that type"


def _explain_absence(question: Question, index: Index, config: ZoneConfig) -> str:
    if question.shape in (Shape.REVERSE, Shape.REVERSE_PARTIAL):
        if not question.address:
            return "the name is no whole address"
        return f"no Service has {question.address} as cluster IP or as a ready endpoint"
    if not question.namespace:
        return str(question.shape.value)
    if question.shape in (Shape.POD, Shape.POD_NAMESPACE) and config.pods == "disabled":
        return "names of Pods are disabled"
    if not index.is_exposed(question.namespace):
        return f"namespace {question.namespace} is not exposed"
    if question.namespace not in index.namespaces:
        return f"namespace {question.namespace} does not exist"
    if question.shape is Shape.POD:
        if not question.address:
            return "the first label is no address with dashes"
        return f"no Pod of {question.namespace} has {question.address}"
    return _explain_service(question, index, config)


def _explain_service(question: Question, index: Index, config: ZoneConfig) -> str:
    key = f"{question.namespace}/{question.service}"
    shard = index.find((question.namespace, question.service))
    if shard is None or shard.service is None:
        return f"service {key} does not exist"
    service = shard.service
    if service.is_external:
        if find_alias(service) is None:
            return f"the external name of {key} is an address or no name: {service.spec.external_name}"
        return f"service {key} is an external name: nothing is below it"
    published = sum(len(each.published) for each in shard.slices)
    if question.shape is Shape.ENDPOINT:
        return f"service {key} has no ready endpoint with the name {question.endpoint}, of {published} that are ready"
    if not published and service.is_headless:
        return f"service {key} is headless and has no ready endpoint" + _explain_emptiness(service, len(shard.slices))
    if not published and config.ignore_empty_service:
        return f"service {key} has no ready endpoint, and such Services are to be ignored"
    if question.shape is Shape.PORT:
        return f"service {key} has no port {question.port or 'at all'}/{question.protocol or 'any protocol'}"
    return f"service {key} has no cluster IP yet"


def _explain_emptiness(service: Service, slices: int) -> str:
    if slices:
        return ""
    selector = getattr(service.spec, "selector", None)
    if selector:
        return "; it has no slice at all: does the controller of endpoints run?"
    return "; it has no selector, so its slices are made by hand, and there is none"


def _find_service(question: Question, index: Index) -> Service | None:
    shard = index.find((question.namespace, question.service)) if question.service else None
    return shard.service if shard is not None else None
