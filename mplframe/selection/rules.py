"""Which images are candidates: thresholds, exclusions, what was dropped and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.errors import ConfigError, DataError
from mplframe.io.files import lines_of
from mplframe.io.location import Location, locate
from mplframe.selection.config import SelectionConfig
from mplframe.selection.database import Engine
from mplframe.selection.report import Report
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


_ROWS = 100_000
_TYPES = {"key": pa.string(), "shard": pa.string(), "index": pa.int64()}


def load_exclusions(
    engine: Engine, lists: Mapping[str, str], storage_options: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Make the tables `excluded_keys` (key, rule) and `excluded_places` (shard, index, rule), each image once.

    `rule` is the number of the first list that names the image.

    Args:
        engine: where to.
        lists: URL of each list, by its name: a text file with one key a line, or Parquet with a column `key`, or with
            `shard` and `index`, which then are what counts.
        storage_options: what fsspec's driver takes.

    Returns:
        How many images each list names.

    Raises:
        DataError: a list can't be read, or has none of these columns.
    """
    engine.run("create temp table listed_keys (key varchar, rule int)")
    engine.run('create temp table listed_places (shard varchar, "index" bigint, rule int)')
    counts = {}
    for rule, (name, url) in enumerate(lists.items()):
        location = locate(url, storage_options)
        counts[name] = 0
        with location.reading():
            for rows in _read(location, name):
                numbered = rows.append_column("rule", pa.array([rule] * len(rows), pa.int32()))
                engine.insert("listed_places" if "shard" in rows.schema.names else "listed_keys", numbered)
                counts[name] += len(rows)
    engine.run("create temp table excluded_keys as select key, min(rule) as rule from listed_keys group by key")
    engine.run(
        'create temp table excluded_places as select shard, "index", min(rule) as rule from listed_places group by all'
    )
    return counts


def _read(location: Location, name: str) -> Iterator[pa.Table]:
    with location.fs.open(location.path, "rb") as stream:
        if not location.path.endswith(".parquet"):
            lines = lines_of(stream.read().decode())
            yield pa.table({"key": pa.array([line for line in lines if line], pa.string())})
            return
        parquet = pq.ParquetFile(stream)
        columns = _columns(parquet.schema_arrow.names, location, name)
        for batch in parquet.iter_batches(_ROWS, columns=columns):
            rows = pa.Table.from_batches([batch]).select(columns)
            yield rows.cast(pa.schema([(column, _TYPES[column]) for column in columns]))


def _columns(found: list[str], location: Location, name: str) -> list[str]:
    for columns in (["shard", "index"], ["key"]):
        if set(columns) <= set(found):
            return columns
    raise DataError(
        f"exclude.{name}: {location.url} has the columns {', '.join(found)}; a list has key, or shard and index"
    )


_SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "shard": pa.dictionary(pa.int32(), pa.string()),
        "index": pa.int64(),
        "rule": pa.dictionary(pa.int32(), pa.string()),
    }
)


def write_dropped(
    engine: Engine, location: Location, rules: Sequence[str], config: SelectionConfig, report: Report
) -> None:
    """Write the list.

    Args:
        engine: has the view `images` and the table `selected`.
        location: where to.
        rules: the names of the rules in force, by number.
        config: of the selection.
        report: of the selection; the list must agree with it.
    """
    names = [*rules, config.limit or ""]
    rows = engine.batches(
        f"""
        select key, shard, "index", coalesce(rule, {len(rules)})::int as rule
        from images anti join selected using (shard, "index") order by shard, "index"
        """,
        _ROWS,
    )
    counts = dict.fromkeys(report.dropped, 0)
    with location.replacing() as stream, pq.ParquetWriter(stream, _SCHEMA, compression="zstd") as writer:
        for batch in rows:
            table = pa.Table.from_batches([batch])
            numbers = table["rule"].combine_chunks()
            for rule in numbers.value_counts().to_pylist():
                counts[names[rule["values"]]] += rule["counts"]
            named = pa.DictionaryArray.from_arrays(numbers, pa.array(names))
            writer.write_table(table.set_column(3, "rule", named).cast(_SCHEMA))
        assert counts == report.dropped, f"listed {counts}, counted {report.dropped}"
