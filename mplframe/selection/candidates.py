"""Which scored images are candidates for which classes, and which rule drops the others."""

from __future__ import annotations

from mplframe.errors import ConfigError
from mplframe.selection.config import SelectionConfig
from mplframe.selection.engine import Engine
from mplframe.selection.scores import ScoreFormat


def check(config: SelectionConfig, form: ScoreFormat) -> None:
    """Check that these scores have what the config asks for.

    Raises:
        ConfigError: they don't.
    """
    if config.top_p > form.top_p:
        raise ConfigError(
            f"top_p is {config.top_p}, but the scores hold the {form.top_p} best classes of an image; "
            f"set at most {form.top_p}, or label again with `--top-p {config.top_p}`"
        )
    if config.needs_tags and not form.tags:
        raise ConfigError(
            "candidates: tagged and shares: tags need scores with tags, and these have none; label with `--tags KEY`, "
            "or from a config with data.tag_key"
        )
    if isinstance(config.top_k, tuple) and len(config.top_k) != form.classes:
        raise ConfigError(f"top_k lists {len(config.top_k)} numbers, but the teacher knows {form.classes} classes")
    if config.distribution and not form.distribution:
        raise ConfigError("distribution: true needs scores with the distribution; these have none")


def define(engine: Engine, config: SelectionConfig, form: ScoreFormat) -> list[str]:
    """Make the views `images` and `candidates` over the view `scores` and the tables of `load_exclusions`.

    `images` has for each scored image: key, shard, index, truth (its true class, or null), tags, top (its most
    probable class), confidence (the probability of that), labels and chances (lists: the classes that it is a candidate
    for, and how probable they are), and rule: the number of the rule that drops it, or null. `candidates` has a row for
    each class that an image which no rule drops is a candidate for: key, shard, index, truth, class, probability.

    Returns:
        The names of the rules that are in force, by number.
    """
    conditions = _conditions(config)
    first = len(config.exclude)
    cases = "".join(f" when {condition} then {first + n}" for n, condition in enumerate(conditions.values()))
    excluded = "least(by_key.rule, by_place.rule)" if config.exclude else "null::int"
    cases = f"when {excluded} is not null then {excluded}{cases}"
    engine.run(f"""
        create temp view labeled as
        select key, shard, "index", {"label" if form.label else "null::int"} as truth, classes, probabilities,
               {"tags" if form.tags else "null::int[]"} as tags, {_labels(config, form)} as labels
        from scores
    """)
    engine.run(f"""
        create temp view images as
        select key, shard, "index", truth, tags, classes[1] as top, probabilities[1] as confidence, labels,
               {_chances(config, form)} as chances, case {cases} end as rule
        from labeled {_joins(config)}
    """)
    likely = f"where probability >= {config.threshold!r}::float" if config.needs_probability else ""
    engine.run(f"""
        create temp view candidates as
        select * from (
            select key, shard, "index", truth, unnest(labels) as class, unnest(chances) as probability
            from images where rule is null
        ) {likely}
    """)
    return [*config.exclude, *conditions]


def _conditions(config: SelectionConfig) -> dict[str, str]:
    """When an image is dropped, in SQL, by the name of the rule; the first that holds counts."""
    conditions = {}
    if config.repeated_keys == "first":
        conditions["repeated_key"] = "{'shard': shard, 'index': \"index\"} <> repeats.first"
    if config.candidates == "tagged":
        conditions["untagged"] = "len(labels) = 0"
        if config.needs_probability:
            conditions["unscored_tag"] = "list_max(chances) is null"
    if config.threshold > 0:
        best = "list_max(chances)" if config.candidates == "tagged" else "confidence"
        conditions["threshold"] = f"{best} < {config.threshold!r}::float"
    return conditions


def _labels(config: SelectionConfig, form: ScoreFormat) -> str:
    if config.candidates == "tagged":
        return "coalesce(list_sort(list_distinct(tags)), [])"
    return "classes" if config.top_p == form.top_p else f"classes[:{config.top_p}]"


def _chances(config: SelectionConfig, form: ScoreFormat) -> str:
    if config.candidates == "tagged":
        return "[probabilities[list_position(classes, tag)] for tag in labels]"
    return "probabilities" if config.top_p == form.top_p else f"probabilities[:{config.top_p}]"


def _joins(config: SelectionConfig) -> str:
    joins = ""
    if config.exclude:
        joins += """
        left join excluded_keys as by_key using (key)
        left join excluded_places as by_place using (shard, "index")"""
    if config.repeated_keys == "first":
        joins += """
        left join (
            select key, min({'shard': shard, 'index': "index"}) as first from scores group by key having count(*) > 1
        ) as repeats using (key)"""
    return joins
