"""The command tree."""

import importlib
from typing import Any

import click

_COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("ostinato.cli.process:init", "Write a configuration file and print the first administrator key."),
    "serve": ("ostinato.cli.process:serve", "Start the gateway."),
    "config": ("ostinato.cli.process:config", "Look at the configuration."),
    "projects": ("ostinato.cli.access:projects", "Projects: what shares a cache and a ledger."),
    "keys": ("ostinato.cli.access:keys", "API keys: create, list, rotate, revoke."),
    "principals": ("ostinato.cli.roles:principals", "People and services that keys are issued for."),
    "roles": ("ostinato.cli.roles:roles", "Who may do what: list, bind, deny, unbind."),
    "breakglass": ("ostinato.cli.roles:breakglass", "Every right for a short time, and everybody is told."),
    "targets": ("ostinato.cli.routes:targets", "Providers, models, and the state of their breakers."),
    "models": ("ostinato.cli.routes:models", "Model aliases: what they stand for."),
    "prices": ("ostinato.cli.routes:prices", "The declared price book."),
    "policies": ("ostinato.cli.routes:policies", "Cache policies."),
    "rules": ("ostinato.cli.routes:rules", "Check rules: secrets, personal data, banned terms."),
    "intents": ("ostinato.cli.intents:intents", "Intents: purposes with owner, stakes and rules."),
    "releases": ("ostinato.cli.releases:releases", "Releases: propose, approve, canary, promote, roll back."),
    "approvals": ("ostinato.cli.releases:approvals", "What waits for somebody's word."),
    "review": ("ostinato.cli.reviews:review", "Answers that people look at: queues, verdicts, agreement."),
    "prompts": ("ostinato.cli.prompts:prompts", "Prompts: versions, diffs, where labels point."),
    "labels": ("ostinato.cli.labels:labels", "Labels, and what a move of them takes."),
    "eval": ("ostinato.cli.evals:evals", "Experiments: run, show, compare, resume, cancel."),
    "datasets": ("ostinato.cli.datasets:datasets", "Datasets: examples, versions, leakage, the sealed holdout."),
    "scorers": ("ostinato.cli.scorers:scorers", "Scorers, sampled traffic, judges held against people."),
    "signals": ("ostinato.cli.signals:signals", "Feedback, outcomes, scores and verdicts of answers."),
    "kpis": ("ostinato.cli.kpis:kpis", "KPIs with their intervals; outcomes out of files."),
    "optimize": ("ostinato.cli.optimize:optimize", "Better prompts, proven on sealed examples: plan, start, watch."),
    "savings": ("ostinato.cli.savings:savings", "What was saved: accounted, by experiment, beside invoices."),
    "roi": ("ostinato.cli.roi:roi", "What caching and optimization brought, and what they cost."),
    "detectors": ("ostinato.cli.monitoring:detectors", "Drift: what watches, what it knows, its alarms."),
    "alerts": ("ostinato.cli.alerts:alerts", "Thresholds that raise alarms."),
    "cases": ("ostinato.cli.cases:cases", "What somebody must look into, until it is closed."),
    "breakers": ("ostinato.cli.breakers:breakers", "Intents that answer by their safe behaviour."),
    "triage": ("ostinato.cli.triage:triage", "What to do with each family of requests, and why; the inventory."),
    "updates": ("ostinato.cli.updates:updates", "Changes of models: who gains, who loses; canaries by intent."),
    "cache": ("ostinato.cli.cache:cache", "Cached entries: list, count, withdraw."),
    "traces": ("ostinato.cli.traces:traces", "The ledger's rows: tail, show."),
    "explain": ("ostinato.cli.explain:explain", "Everything behind one answer, by its request's id."),
    "webhooks": ("ostinato.cli.webhooks:webhooks", "Where messages go: webhooks, Slack, e-mail; dead letters."),
    "retention": ("ostinato.cli.retention:retention", "How long things are kept; holds; forgetting somebody."),
    "audit": ("ostinato.cli.audit:audit", "The audit log: list, prove, export; verify offline."),
    "assess": ("ostinato.cli.assess:assess", "What it would be worth, from traffic recorded elsewhere."),
    "what-if": ("ostinato.cli.what_if:what_if", "Recorded traffic of the ledger again, under another policy."),
    "stats": ("ostinato.cli.traces:stats", "Hit rates, latency, cost and savings."),
}
"""Name -> where it is (imported when it is called, or its own help is asked for), and its line in the overview."""


class Lazy(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = _COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, _, name = found[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ostinato", prog_name="ostinato")
def cli() -> None:
    """Ostinato: an LLM gateway that repeats what works and reworks what does not."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; an Ostinato error is one sentence on standard error and exit code 1."""
    from ostinato.core.errors import OstinatoError  # noqa: PLC0415

    try:
        return cli.main(args=arguments, prog_name="ostinato", standalone_mode=True)
    except OstinatoError as error:
        click.echo(f"ostinato: {error.message}", err=True)
        if error.hint:
            click.echo(f"          {error.hint}", err=True)
        raise SystemExit(1) from None
