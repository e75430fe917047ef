"""The command that comes with the package, and what is seen of progress."""

from conftest import CIFAR10, MIXED, run_command, run_program


def test_the_command_is_the_whole_command(tmp_path):
    assert run_command("--version").stdout == "dismax 0.1.0\n"
    assert "train" in run_command("--help").stdout
    done = run_command("score", tmp_path / "nothing.parquet", "--model", CIFAR10, "--out", tmp_path / "out.parquet")
    assert done.returncode == 3 and "no such file" in done.stderr
    done = run_command("sql", f"SELECT count(*) AS n FROM '{MIXED}'", "--format", "csv")
    assert done.stdout == "n\n721\n", done.stderr
    assert run_command("score").returncode == 2


def test_bars_are_for_people():
    program = f"import dismax; dismax.Model({str(CIFAR10)!r}).score({str(MIXED)!r}).to_arrow({{}})"
    quiet = run_program(program.format(""))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    shown = run_program(program.format("progress=True"))
    assert "reading: 100%" in shown.stderr and "721/721" in shown.stderr, shown.stderr
