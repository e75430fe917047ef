"""Tests of `check_rooms.py` on small crates written for the purpose."""

import tempfile
import unittest
from pathlib import Path

import rust_source
from check_rooms import CRATES, ROOMS, ROOT, Crate, check_crates, check_files, check_messages, check_rooms, circles, rooms


def write(folder, files):
    for name, text in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Source(unittest.TestCase):
    def test_comments_strings_and_tests_are_no_code(self):
        text = """
// use crate::a::A;
/* use crate::b::B; */
const S: &str = "use crate::c::C;";
const R: &str = r#"use crate::d::"D";"#;
const Q: char = '"';
fn lifetimes<'a>(x: &'a str) -> &'a str { x }
use crate::e::E;
#[cfg(test)]
mod tests {
    use crate::f::F;
}
"""
        code = rust_source.without_strings(rust_source.without_tests(rust_source.without_comments(text)))
        self.assertEqual([found.path for found in rust_source.imports(code)], [("crate", "e", "E")])
        self.assertEqual(code.count("\n"), text.count("\n"))

    def test_trees_of_imports(self):
        found = rust_source.imports("pub use crate::a::{self, B as C, d::{E, F}, *};")
        self.assertEqual(
            [(found.path, found.name) for found in found],
            [
                (("crate", "a"), "a"),
                (("crate", "a", "B"), "C"),
                (("crate", "a", "d", "E"), "E"),
                (("crate", "a", "d", "F"), "F"),
                (("crate", "a", "*"), "*"),
            ],
        )
        self.assertTrue(all(found.public for found in found))


class Graph(unittest.TestCase):
    def edges(self, files):
        with tempfile.TemporaryDirectory() as folder:
            write(folder, files)
            return Crate(Path(folder)).edges()

    def test_an_item_is_found_behind_re_exports(self):
        edges = self.edges({
            "lib.rs": "pub mod room;\npub mod user;\npub use room::Thing;",
            "room/mod.rs": "mod inner;\npub use self::inner::Thing;",
            "room/inner.rs": "pub struct Thing;",
            "user.rs": "use crate::Thing;\nfn f(_: crate::room::Thing) {}",
        })
        self.assertEqual(dict(edges), {("user",): {("room", "inner")}})

    def test_handing_names_on_is_no_use_but_using_them_is(self):
        files = {"lib.rs": "", "a/mod.rs": "pub use self::b::B;", "a/b.rs": "use super::A;\npub struct B(A);"}
        files["a/mod.rs"] += "\npub struct A;"
        self.assertEqual(check_files(self.edges(files), "src"), [])
        files["a/mod.rs"] += "\npub fn f(_: B) {}"
        self.assertEqual(len(check_files(self.edges(files), "src")), 1)

    def test_files_that_import_each_other_are_reported(self):
        edges = self.edges({
            "lib.rs": "",
            "a.rs": "use crate::b::B;\npub struct A;",
            "b.rs": "pub struct B;\nfn f() { crate::c::g() }",
            "c.rs": "use super::a::A;\npub fn g() {}",
        })
        self.assertEqual(circles(edges), [[("a",), ("b",), ("c",)]])
        self.assertIn("a -> b, b -> c, c -> a", check_files(edges, "src")[0])

    def test_tests_may_use_what_they_like(self):
        edges = self.edges({
            "lib.rs": "",
            "error.rs": "#[cfg(test)]\nmod tests { use crate::stage::Stage; }\npub struct E;",
            "stage/tests.rs": "use crate::filter::F;",
            "stage/mod.rs": "use crate::error::E;\n#[cfg(test)]\nmod tests;\npub struct Stage;",
        })
        self.assertEqual(rooms(edges), {"stage": {"error"}})

    def test_an_arrow_between_rooms_that_runs_up_is_reported(self):
        up = self.edges({"lib.rs": "", "image.rs": "use crate::stage::Stage;", "stage.rs": "pub struct Stage;"})
        self.assertEqual(check_rooms(up, "src"), ["src/image must not import stage, which is not below it: image"])
        down = self.edges({"lib.rs": "", "stage.rs": "use crate::image::Pixels;", "image.rs": "pub struct Pixels;"})
        self.assertEqual(check_rooms(down, "src"), [])
        unknown = self.edges({"lib.rs": "", "attic.rs": "use crate::image::Pixels;", "image.rs": "pub struct Pixels;"})
        self.assertEqual(len(check_rooms(unknown, "src")), 1)


class Page(unittest.TestCase):
    def test_the_architecture_page_shows_every_room(self):
        page = (ROOT / "docs/architecture.md").read_text()
        for room in [room for line in ROOMS for room in line]:
            self.assertIn(f"`{room}`", page)


class Manifests(unittest.TestCase):
    def check(self, **dependencies):
        with tempfile.TemporaryDirectory() as folder:
            for crate in CRATES:
                lines = [f'"{name}" = "1"' for name in dependencies.get(crate if crate != "." else "dismax", [])]
                text = "\n".join(["[dependencies]", *lines, "[workspace]" if crate == "." else ""])
                text += '\nmembers = ["train"]' if crate == "." else ""
                write(folder, {f"{crate}/Cargo.toml": text})
            return check_crates(Path(folder))

    def test_dependencies_run_down(self):
        self.assertEqual(self.check(dismax=["dismax-kernels"], cli=["datafusion", "dismax-udfs"]), [])
        self.assertEqual(len(self.check(dismax=["dismax-train"])), 1)
        self.assertEqual(len(self.check(dismax=["datafusion"])), 1)
        self.assertEqual(len(self.check(dismax=["dismax-charts"])), 1)


class Messages(unittest.TestCase):
    def check(self, folder, text):
        with tempfile.TemporaryDirectory() as root:
            write(root, {f"{folder}/src/lib.rs": text})
            return check_messages(folder, Path(root))

    def test_flags_and_sql_functions_are_reported_with_their_line(self):
        self.assertEqual(self.check("train", '\nf("name another with --out");'), ["train/src/lib.rs:2: a message names --out"])
        self.assertEqual(len(self.check("audit", 'f("use dismax_is_ood");')), 1)
        self.assertEqual(self.check("udfs", 'f("use dismax_is_ood");'), [])

    def test_dashes_that_are_no_flag(self):
        self.assertEqual(self.check("train", '// --out\nf("a -- b", "--", "x--y", "---");'), [])
        self.assertEqual(self.check("train", '#[cfg(test)]\nmod tests { fn f() { g("--out"); } }'), [])


if __name__ == "__main__":
    unittest.main()
