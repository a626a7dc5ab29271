"""What rules ask of a pipeline: objects that are followed, classes that it knows, checks of trust.

Pure, but for the classifier's card, which is read where a rule asks for a class.
"""

from __future__ import annotations

from collections.abc import Iterator

from live.experiment.didyoumean import suggestion
from live.experiment.settings import ExperimentSettings, RuleSettings
from live.experiment.yamlfile import KeyPath
from live.rules.classnames import classes_of
from live.rules.expression import read_expression
from models import PipelineSettings

_OF_TRACKS = frozenset(
    (
        "id",
        "parent",
        "age",
        "area_change",
        "speed",
        "speed_um",
        "mean_change",
        "divided",
        "appeared",
        "entered_roi",
        "left_roi",
        "rate_divisions",
    )
)
"""Columns that mean nothing where objects are not followed."""
_OF_CLASSES = frozenset(("class", "p"))
_OF_MEASURE = {
    "texture": frozenset(("perimeter", "min", "std", "roughness")),
    "neighbours": frozenset(("neighbours", "nearest")),
}
"""Columns that a pipeline fills where its ``measure`` says so."""


def rule_problems(settings: ExperimentSettings) -> Iterator[tuple[KeyPath, str]]:
    """Key and sentence of what the experiment's pipeline cannot answer."""
    pipeline = settings.pipeline
    for index, rule in enumerate(settings.rules):
        key: KeyPath = ("rules", index)
        columns = _columns(rule)
        yield from _objects(pipeline, rule, columns, key)
        yield from _classes(pipeline, rule, columns, key)
        yield from _measured(pipeline, columns, key)
        if rule.decide_on == "denoised" and pipeline.denoise is None:
            yield (
                (*key, "decide_on"),
                f"pipeline '{pipeline.name}' does not denoise; choose one with `denoise`, such as "
                "nuclei-denoised, or write raw",
            )
        if pipeline.trust is None and (
            rule.max_uncertainty is not None or "uncertainty" in columns
        ):
            name = "when" if rule.max_uncertainty is None else "max_uncertainty"
            yield (
                (*key, name),
                f"pipeline '{pipeline.name}' checks no uncertainty; choose one with `trust`, or "
                "leave this out",
            )


def _columns(rule: RuleSettings) -> frozenset[str]:
    """Columns that the conditions of a rule speak of."""
    texts = [rule.when if isinstance(rule.when, str) and not rule.is_event else "", rule.until]
    found = (read_expression(text, rule.per).columns for text in texts if text)
    return frozenset(name for names in found for name in names)


def _objects(
    pipeline: PipelineSettings, rule: RuleSettings, columns: frozenset[str], key: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    # What a rule remembers of an object it finds again by its track.
    follows = rule.per == "object" or rule.is_event or bool(columns & _OF_TRACKS)
    lacks = pipeline.segment is None or (follows and pipeline.track is None)
    if lacks:
        what = "objects that are followed" if follows else "objects"
        asked = rule.when if isinstance(rule.when, str) else rule.when.plugin
        yield (
            (*key, "when"),
            f"'{asked}' needs {what}, which pipeline '{pipeline.name}' does not do; choose "
            "another or leave the rule out",
        )


def _measured(
    pipeline: PipelineSettings, columns: frozenset[str], key: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    for part, names in _OF_MEASURE.items():
        asked = sorted(columns & names)
        if asked and not (pipeline.measure is not None and getattr(pipeline.measure, part)):
            yield (
                (*key, "when"),
                f"the condition asks for {' and '.join(asked)}, which pipeline '{pipeline.name}' "
                f"does not measure; add `measure: {{{part}: true}}` to it",
            )


def _classes(
    pipeline: PipelineSettings, rule: RuleSettings, columns: frozenset[str], key: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    asked = [("of_class", rule.of_class)] if rule.of_class is not None else []
    asked += [("when", name) for name in rule.classes]
    known = classes_of(pipeline) if asked or columns & _OF_CLASSES else None
    if known == () and not asked:
        yield (
            (*key, "when"),
            f"the condition asks for a class, but pipeline '{pipeline.name}' tells none apart; "
            "choose one with `classify`",
        )
    for name, wanted in asked:
        if known == ():
            yield (
                (*key, name),
                f"'{wanted}' is a class, but pipeline '{pipeline.name}' tells none apart; choose "
                "one with `classify`, or leave this out",
            )
        elif known is not None and wanted not in known:
            hint = suggestion(str(wanted), known)
            yield (*key, name), f"no class '{wanted}' in the pipeline; {hint}"
