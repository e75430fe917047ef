"""Tests of `run_docs.py`: what counts as a command, when outputs agree, and what is reported."""

import tempfile
import unittest
from pathlib import Path

import run_docs
from run_docs import PageError, matches, parse

PAGE = """\
# Title

```console
$ dismax score a \\
>     --out b
scored   3 rows
$ true
```

<!-- numbers vary: it is trained here -->
```console
$ echo 7
5
```

<!-- not run: takes minutes -->
```console
$ make demo
```

```rust
let x = 1;
```
"""


class Parsing(unittest.TestCase):
    def test_commands_with_continuations_outputs_and_marks(self):
        page = parse(PAGE)
        self.assertEqual([command.text for command in page.commands], ["dismax score a \\\n    --out b", "true", "echo 7"])
        self.assertEqual(page.commands[0].output, ["scored   3 rows"])
        self.assertEqual([command.numbers_vary for command in page.commands], [False, False, True])
        self.assertEqual([command.line for command in page.commands], [4, 7, 12])
        self.assertEqual(page.left_out, [(17, "takes minutes")])

    def test_no_command_escapes(self):
        for escaping in [
            "```sh\ndismax info model\n```",
            "```\n$ true\n```",
            "```text\n$ true\n```",
            "    dismax info model",
            "<!-- not-run -->\n```console\n$ false\n```",
            "```console\n$ true",
            "```console\noutput without a command\n```",
        ]:
            with self.subTest(escaping), self.assertRaises(PageError):
                parse(escaping)


class Comparing(unittest.TestCase):
    def test_words_and_numbers_must_agree(self):
        self.assertTrue(matches(["rows  721"], ["rows 721", ""], False))
        self.assertFalse(matches(["rows 721"], ["rows 720"], False))
        self.assertFalse(matches(["rows 721"], ["rows 721", "more"], False))

    def test_numbers_may_vary_where_the_page_says_so(self):
        self.assertTrue(matches(["| 0.9889 | -1e-6 |", "+-----+"], ["| 1,024 | 3 |", "+---+"], True))
        self.assertFalse(matches(["AUROC 0.9889"], ["FPR95 0.9889"], True))

    def test_dots_stand_for_any_lines(self):
        self.assertTrue(matches(["a", "...", "z"], ["a", "b", "c", "z"], False))
        self.assertTrue(matches(["a", "..."], ["a"], False))
        self.assertFalse(matches(["a", "...", "z"], ["a", "b"], False))

    def test_dots_stand_for_any_characters(self):
        self.assertTrue(matches(["ScoreExec: columns=[...]"], ["ScoreExec: columns=[a, b]"], False))
        self.assertFalse(matches(["ScoreExec: columns=[...]"], ["FilterExec: columns=[a, b]"], False))


class Links(unittest.TestCase):
    def test_files_and_headings_are_looked_up(self):
        with tempfile.TemporaryDirectory() as folder:
            other = Path(folder) / "other.md"
            other.write_text("# One thing, two\n")
            page = Path(folder) / "page.md"
            text = "[a](other.md) [b](other.md#one-thing-two) [c](https://example.org) [d](gone.md) [e](other.md#three)"
            self.assertEqual(run_docs.broken_links(page, text), ["gone.md", "other.md#three"])


class Running(unittest.TestCase):
    """The whole program, with `true` in place of `dismax`: the pages' own commands decide."""

    def run_page(self, text):
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.md"
            page.write_text(text)
            work = Path(folder) / "work"
            work.mkdir()
            runner = run_docs.Runner(Path("/bin/true"), work)
            runner.demo.mkdir()
            return runner.page(page)

    def test_a_page_whose_commands_do_what_it_says_passes(self):
        self.assertEqual(self.run_page("```console\n$ echo hello; dismax\nhello\n```\n"), (1, [], []))

    def test_other_output_and_a_failing_command_are_reported(self):
        _, _, failures = self.run_page("```console\n$ echo hello\nbye\n$ exit 3\n```\n")
        self.assertEqual(len(failures), 2)
        self.assertIn("-- it prints\nhello", failures[0])
        self.assertIn("exit status 3", failures[1])

    def test_a_link_that_leads_nowhere_is_reported(self):
        _, _, failures = self.run_page("[gone](gone.md)\n")
        self.assertEqual(len(failures), 1)


if __name__ == "__main__":
    unittest.main()
