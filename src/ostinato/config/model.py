"""The whole configuration: one section per room, composed of the rooms' own settings."""

from typing import Literal

import msgspec

from ostinato.access import Settings as AccessSettings
from ostinato.audit import Settings as AuditSettings
from ostinato.breakers import Settings as BreakersSettings
from ostinato.cache import Settings as CacheSettings
from ostinato.calls import Settings as CallsSettings
from ostinato.cases import Settings as CasesSettings
from ostinato.checks import Settings as ChecksSettings
from ostinato.datasets import Settings as DatasetsSettings
from ostinato.embeddings import Settings as EmbeddingsSettings
from ostinato.evals import Settings as EvalsSettings
from ostinato.evals.retrieval import Settings as RetrieverSettings
from ostinato.families import Settings as FamiliesSettings
from ostinato.gateway import Settings as GatewaySettings
from ostinato.jobs import Settings as JobsSettings
from ostinato.kpis import Settings as KpisSettings
from ostinato.monitoring import Settings as MonitoringSettings
from ostinato.notifying import Settings as NotifyingSettings
from ostinato.optimization.settings import Settings as OptimizationSettings
from ostinato.outbound import Settings as OutboundSettings
from ostinato.providers import Settings as ProviderSettings
from ostinato.releases import Settings as ReleasesSettings
from ostinato.retention import Settings as RetentionSettings
from ostinato.reviews import Settings as ReviewsSettings
from ostinato.routing import Settings as RoutingSettings
from ostinato.savings import Settings as SavingsSettings
from ostinato.scorers import Settings as ScorersSettings
from ostinato.signals import Settings as SignalsSettings
from ostinato.traces import Settings as TracesSettings
from ostinato.triage import Settings as TriageSettings
from ostinato.updating import Settings as UpdatesSettings
from ostinato.web.settings import Settings as ServerSettings
from ostinato.wire.model import Json


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[storage]``: where things are kept."""

    directory: str = "./.ostinato"
    """Of the embedded server's files."""
    url: str = ""
    """Of PostgreSQL (``postgresql://user@host/name``) when scaled out; empty: SQLite files in ``directory``."""
    valkey: str = ""
    """Of a Valkey (``valkey://host:6379``) that carries notices between processes; the cache has its own ``url``."""
    notice_poll_seconds: float = 1.0
    """How often a scaled-out process asks whether something changed, in case a notice was lost."""


class Logging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[log]``."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"


class Config(msgspec.Struct, frozen=True):
    """Everything that a process needs to know at its start."""

    server: ServerSettings = ServerSettings()
    storage: Storage = Storage()
    log: Logging = Logging()
    access: AccessSettings = AccessSettings()
    audit: AuditSettings = AuditSettings()
    cache: CacheSettings = CacheSettings()
    gateway: GatewaySettings = GatewaySettings()
    routing: RoutingSettings = RoutingSettings()
    releases: ReleasesSettings = ReleasesSettings()
    reviews: ReviewsSettings = ReviewsSettings()
    traces: TracesSettings = TracesSettings()
    outbound: OutboundSettings = OutboundSettings()
    checks: ChecksSettings = ChecksSettings()
    calls: CallsSettings = CallsSettings()
    jobs: JobsSettings = JobsSettings()
    evals: EvalsSettings = EvalsSettings()
    optimization: OptimizationSettings = OptimizationSettings()
    datasets: DatasetsSettings = DatasetsSettings()
    signals: SignalsSettings = SignalsSettings()
    scorers: ScorersSettings = ScorersSettings()
    embeddings: EmbeddingsSettings = EmbeddingsSettings()
    breakers: BreakersSettings = BreakersSettings()
    cases: CasesSettings = CasesSettings()
    families: FamiliesSettings = FamiliesSettings()
    kpis: KpisSettings = KpisSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    notifying: NotifyingSettings = NotifyingSettings()
    retention: RetentionSettings = RetentionSettings()
    savings: SavingsSettings = SavingsSettings()
    triage: TriageSettings = TriageSettings()
    updates: UpdatesSettings = UpdatesSettings()
    providers: dict[str, ProviderSettings] = {}
    retrievers: dict[str, RetrieverSettings] = {}
    models: dict[str, Json] = {}
    """Declarations of routes: ``[models.ALIAS]``."""
    prices: dict[str, Json] = {}
    """Declarations of prices: ``[prices."provider/model"]``."""
    policies: dict[str, Json] = {}
    """Declarations of cache policies: ``[policies.NAME]``."""
    rules: dict[str, Json] = {}
    """Declarations of check rules: ``[checks.rules.NAME]``."""
    intents: dict[str, Json] = {}
    """Declarations of intents: ``[intents.NAME]``."""


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "server": ServerSettings,
    "storage": Storage,
    "log": Logging,
    "access": AccessSettings,
    "audit": AuditSettings,
    "cache": CacheSettings,
    "gateway": GatewaySettings,
    "routing": RoutingSettings,
    "releases": ReleasesSettings,
    "reviews": ReviewsSettings,
    "traces": TracesSettings,
    "outbound": OutboundSettings,
    "checks": ChecksSettings,
    "embeddings": EmbeddingsSettings,
    "calls": CallsSettings,
    "jobs": JobsSettings,
    "evals": EvalsSettings,
    "optimization": OptimizationSettings,
    "datasets": DatasetsSettings,
    "signals": SignalsSettings,
    "breakers": BreakersSettings,
    "cases": CasesSettings,
    "families": FamiliesSettings,
    "kpis": KpisSettings,
    "monitoring": MonitoringSettings,
    "notifying": NotifyingSettings,
    "retention": RetentionSettings,
    "savings": SavingsSettings,
    "triage": TriageSettings,
    "updates": UpdatesSettings,
    "scorers": ScorersSettings,
}
"""Sections with fixed keys."""

DECLARATIONS = ("models", "prices", "policies", "rules", "intents")
"""Sections of named declarations: applied to ``control`` at start."""
