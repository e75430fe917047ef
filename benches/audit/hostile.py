#!/usr/bin/env python3
"""A small dataset whose strings try to break a report or to run in it.

    hostile.py LABELLED.parquet --image COLUMN --label COLUMN --out FOLDER [--repeat 4] [--seed 0]

Writes one Parquet file with a hostile name into FOLDER and prints its path. Each of the strings below stands, on its own rows, as
the path of an image and in the two string columns to group by, `group` and one with a hostile name; the schema's metadata hold
them as keys and values. Each string has rows of every kind, so that it gets into every gallery: an image as it is, a broken one,
a black one, an exact and a near duplicate of the first; --repeat times. The images are LABELLED's.

What would run sets `window.hostile`, and what a template engine would work out is 1337: a page that is safe has neither.
"""

import argparse
import pathlib

import numpy
import pyarrow
import pyarrow.parquet

import plant

STRINGS = {
    "script": "<script>window.hostile=1</script>",
    "handler": "\"><img src=x onerror=\"window.hostile=1\">",
    "single quote": "' onmouseover='window.hostile=1' tabindex='0' onfocus='window.hostile=1",
    "link": "javascript:window.hostile=1",
    "closing": "</svg></script></style></title></textarea>--><svg onload=window.hostile=1>",
    "comment": "<!--<script>",
    "entities": "&lt;script&gt; &#60;b&#62; &amp;amp; &",
    "template": "{{ 7 * 191 }} {% for x in range(9) %} {# note #} ${7*191} <%= 7*191 %>",
    "json": "\\\"}]}; window.hostile=1; //\u2028\u2029",
    "style": "red;}*{display:none} url(javascript:window.hostile=1)",
    "long": "a" * (1 << 20),
    "long markup": "<b>\u00e9" * (1 << 18),
    "control": "bell \x07 escape \x1b[31m delete \x7f tab \t newline \r\n next line \x85 end",
    "null": "before\x00after\x00<b>",
    "right to left": "photo_\u202egpj.exe \u2067\u2066 \u0645\u0631\u062d\u0628\u0627",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 e" + "\u0301" * 200,
    "no characters": "\ufffe\uffff\ufeff\U0010ffff",
    "formula": "=HYPERLINK(\"http://127.0.0.1/\"&A1,\"open\")",
    "formula with a plus": "+cmd|' /C calc'!A0",
    "path": "../../../../etc/passwd%00.jpg?x=#fragment",
    "blank": " \u00a0\u200b\u3000 ",
    "empty": "",
}
HOSTILE_COLUMN = "\"><script>window.hostile=1</script> {{ 7 * 191 }}"
HOSTILE_FILE = "\"><img src=x onerror=window.hostile=1> {{ 7 * 191 }} \u202e =1+1.parquet"


def variants(data, random):
    """The image, and what an audit reports of it."""
    black = random.integers(0, 6, plant.pixels(data).shape, dtype="uint8")
    return [data, plant.cut(data, random)[0], plant.jpeg(black), data, plant.moved(data, random)[0]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=pathlib.Path)
    parser.add_argument("--image", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random = numpy.random.default_rng(arguments.seed)

    source = pyarrow.parquet.read_table(arguments.labelled, columns=[arguments.image, arguments.label])
    needed = len(STRINGS) * arguments.repeat
    if len(source) < needed:
        parser.error(f"{arguments.labelled} has {len(source)} rows, {needed} are needed; lower --repeat")
    chosen = source.take(random.permutation(len(source))[:needed]).to_pylist()
    images, labels, strings = [], [], []
    for row, string in zip(chosen, [string for string in STRINGS.values() for _ in range(arguments.repeat)]):
        for data in variants(row[arguments.image]["bytes"], random):
            images.append({"bytes": data, "path": string})
            labels.append(row[arguments.label])
            strings.append(string)

    metadata = dict(source.schema.metadata or {})
    for number, string in enumerate(STRINGS.values()):
        metadata |= {f"{number} {string}": string}
    fields = [source.schema.field(arguments.image), source.schema.field(arguments.label)]
    fields += [pyarrow.field(name, pyarrow.string(), metadata={"note": STRINGS["script"]}) for name in ("group", HOSTILE_COLUMN)]
    arrays = [pyarrow.array(values, field.type) for values, field in zip((images, labels, strings, strings), fields)]
    table = pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields, metadata))

    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / HOSTILE_FILE
    pyarrow.parquet.write_table(table.take(random.permutation(len(table))), path, row_group_size=100)
    print(path)


if __name__ == "__main__":
    main()
