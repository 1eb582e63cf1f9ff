"""What skytrace adds to the `kedro` command: `results`, `trace`, `supernova-data`, and errors that are a message."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import KedroCliError
from kedro.utils import find_kedro_project

from skytrace.errors import SkytraceError

__all__ = ["cli", "results", "supernova_data", "trace"]

TRACEBACK_VARIABLE = "SKYTRACE_TRACEBACK"
INTERRUPTED = 130  # what shells call a command that Ctrl-C ended: 128 + SIGINT


class MessageError(KedroCliError):
    """An error whose message says everything."""

    VERBOSE_ERROR = False

    def show(self, file: Any = None) -> None:
        """Print the message, and how to see more."""
        click.secho(f"\nerror: {self.message}", fg="red", err=True)
        click.secho(f"({TRACEBACK_VARIABLE}=1 shows where it happened)", err=True)


def _say(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn errors that we, or Kedro's look-up of a pipeline's name, raise on purpose into their message."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        """The command, whose errors on purpose become a MessageError."""
        try:
            return function(*args, **kwargs)
        except Exception as error:
            expected = _on_purpose(error)
            if expected is None or os.environ.get(TRACEBACK_VARIABLE):
                raise
            notes = getattr(expected, "__notes__", [])
            raise MessageError("\n".join([str(expected), *notes])) from error

    return wrapped


def _on_purpose(error: BaseException | None) -> BaseException | None:
    """The error whose message says what to do: ours, wherever it is in the chain; else one that Kedro, the parameter
    files or the file system raise about what they were given. A fault of the code keeps its traceback.
    """
    first = error
    while error is not None:
        if isinstance(error, SkytraceError):
            return error
        error = error.__cause__ or error.__context__
    if first is None:
        return None
    kind = type(first).__module__.split(".")[0]
    told = isinstance(first, OSError) or kind in ("kedro", "omegaconf", "yaml") or _raised_by_kedro(first)
    return first if told else None


def _raised_by_kedro(error: BaseException) -> bool:
    """Whether a plain ValueError comes from Kedro's own reading of the command (an unknown node, tag or pipeline)."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return isinstance(error, ValueError) and module.startswith(("kedro.framework", "kedro.pipeline", "kedro.config"))


@click.group(name="skytrace")
def cli() -> None:
    """Commands of this project."""


@_say
def _run(**asked: Any) -> Any:
    """Kedro's run, of names that are there; Ctrl-C ends it with a line that says how to go on, and exit code 130."""
    from skytrace.run_request import check_request

    project = find_kedro_project(Path.cwd())
    try:
        if project is not None:
            check_request(Path(project), asked)
        return kedro_run.callback(**asked)  # type: ignore[misc]
    except KeyboardInterrupt as interrupt:
        click.secho(f"\n{str(interrupt) or 'interrupted'}", fg="yellow", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


cli.add_command(click.Command("run", callback=_run, params=kedro_run.params, help=kedro_run.help))


@cli.command()
@click.option("--env", "-e", default=None, help="Kedro environment: a folder of conf/.")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Also copy the small reports (JSON, CSV) there, with the commit that they belong to: to be cited.",
)
@click.option("--only", default=None, metavar="PIPELINE", help="With --save: the reports of this pipeline alone.")
@_say
def results(env: str | None, save: Path | None, only: str | None) -> None:
    """Show the verdict and where the results are."""
    from kedro.framework.session import KedroSession

    from skytrace.provenance.results import find_results, save_reports

    project = _project()
    with KedroSession.create(project_path=project, env=env) as session:
        catalog = session.load_context().config_loader["catalog"]
    found = find_results(catalog, project)
    lines = found.lines(project, env=env)
    if not found.paths and save is None:  # a part of a pipeline leaves reports to save before it leaves a page to open
        raise MessageError("\n".join(lines))
    for line in lines:
        click.echo(line)
    if save is not None:
        for path in save_reports(catalog, project, save, only=only):
            click.echo(f"saved {path}")


@cli.command()
@click.argument("target")
@click.option(
    "--env",
    "-e",
    default=None,
    envvar="KEDRO_ENV",
    help="Kedro environment that TARGET's name is looked up in; default: $KEDRO_ENV.",
)
@click.option("--full", is_flag=True, help="All values of all parameters, one a line.")
@click.option("--json", "as_json", is_flag=True, help="The same facts as JSON.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Also write them there, as a page."
)
@click.option(
    "--ro-crate",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write a Workflow Run RO-Crate there, with the files: a new folder, or a .zip.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="KIND",
    help="A kind of break that is told without making the exit code 1 (code, dirty, stale, ...); any number of times.",
)
@_say
def trace(
    target: str,
    env: str | None,
    full: bool,
    as_json: bool,
    html: Path | None,
    ro_crate: Path | None,
    allow: tuple[str, ...],
) -> None:
    """Follow TARGET back to the raw sky, and say where the chain is broken.

    TARGET is a dataset (cluster_pu.evaluation) or the file of one, and may name a value in it:
    evaluation.json:auc.value (names joined by dots), table.csv:#3/auroc or table.csv:member=nn_pu/auroc (row/column).
    The exit code is 0 where the chain is whole, 1 where it is broken (docs/lineage.md).
    """
    import json

    from skytrace.compute.files import atomic_path
    from skytrace.errors import check_choice
    from skytrace.provenance.lineage import KINDS
    from skytrace.provenance.trace import trace as trace_target
    from skytrace.provenance.trace_project import ProjectConfiguration
    from skytrace.provenance.trace_text import trace_lines

    for kind in allow:
        check_choice("--allow", kind, tuple(KINDS))
    project = _project()
    facts = trace_target(target, project=project, environment=env, configuration=ProjectConfiguration(project))
    if html is not None:
        from skytrace.reporting.trace_page import trace_page

        with atomic_path(html) as partial:
            partial.write_text(trace_page(facts), encoding="utf-8")
    if ro_crate is not None:
        from skytrace.provenance.trace_crate import write_crate

        write_crate(facts, project, ro_crate)
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        from rich.console import Console

        console = Console(highlight=False)
        for line in trace_lines(facts, full=full):
            console.print(line, soft_wrap=True)
    if any(each["kind"] not in allow for each in facts["breaks"]):
        raise click.exceptions.Exit(1)


def _project() -> Path:
    from kedro.framework.startup import bootstrap_project

    project = find_kedro_project(Path.cwd())
    if project is None:
        raise MessageError("this is not a skytrace checkout: run it where pyproject.toml is")
    bootstrap_project(project)
    return Path(project)


@cli.command("supernova-data")
@click.argument("release", required=False)
@click.option(
    "--folder",
    default=None,
    help="Where to: absolute or under $SKYTRACE_DATA. Default: supernova/RELEASE.",
)
@click.option("--sha256", "said", multiple=True, metavar="FILE=HEX", help="What a file must have; once for each file.")
@click.option(
    "--trust-on-first-use",
    is_flag=True,
    help="Accept what the server sends of files whose SHA-256 nobody knows, and record it: it binds from then on.",
)
@_say
def supernova_data(release: str | None, folder: str | None, said: tuple[str, ...], trust_on_first_use: bool) -> None:
    """Fetch a public RELEASE of supernovae; without one list what there is. docs/real_data.md says how to read it."""
    from skytrace.surveys.data_root import under_data_root
    from skytrace.surveys.supernovae.download import RELEASES, download_release

    if release is None:
        for name, files in RELEASES.items():
            click.echo(f"{name}: {', '.join(file.name for file in files)}")
        return
    wrong = [entry for entry in said if "=" not in entry]
    if wrong:
        raise MessageError(f"--sha256 {wrong[0]} is not FILE=HEX")
    report = download_release(
        release,
        folder,
        expected_sha256=dict(entry.split("=", 1) for entry in said),
        trust_on_first_use=trust_on_first_use,
    )
    where = under_data_root(f"supernova/{release}" if folder is None else folder)
    click.echo(f"{where}: {report.fetched} fetched, {report.reused} there already; SHA-256 in manifest.jsonl")
