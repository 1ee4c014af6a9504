"""The settings as types: what the configuration file may say, with every default.

Unknown keys are errors. Source of names and defaults: the configuration reference in docs/configuration.md.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    """processes; more than one need the native edge, and each has a daybook of its own"""
    edge: Literal["asgi", "native"] = "native"
    """`asgi` serves the same paths by uvicorn"""
    tls_cert: str | None = None
    """PEM file with the certificate and its chain; with it the port speaks HTTPS"""
    tls_key: str | None = None
    """PEM file with its key; None = it is in `tls_cert`"""
    unix_socket: str | None = None
    """path of a UNIX socket to listen on instead of host and port"""
    unix_socket_mode: str = "0600"
    """who may connect there: a file mode in octal digits"""
    drain: float = 10
    """seconds that SIGTERM lets running streams go on"""


class StoreTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: str = "sqlite:///routebook.db"
    """relative paths are relative to the data folder"""
    durability: Literal["process", "power"] = "process"
    keep_days: int | None = None
    """calls that were accepted longer ago are deleted; None = they are kept"""
    keep_bytes: int | None = None
    """the oldest calls are deleted when the store's data is more; None = it may grow"""
    daybook_hours: float = 24
    """closed daybook segments whose rows are all shipped go when they are older …"""
    daybook_bytes: int = 256 * 2**20
    """… or when there are more bytes of such than this"""


class AccountingTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    markup: Decimal = Decimal(0)
    byok_fee: Decimal = Decimal(0)
    latency: Literal["total", "first_token"] = "total"
    reference_tokens: bool = True
    unpriced_ceiling: Decimal | None = None
    """USD held for a call on an unpriced model by a key with a budget; None = such calls are refused"""
    credits: Decimal = Decimal(0)
    """USD the account was given, shown as total_credits"""


class ProviderTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    slug: str
    dialect: str | None = None
    base_url: str | None = None
    name: str | None = None
    api_key: str | None = None
    api_key_env: str | None = None
    google_credentials: str | None = None
    """the key file of a Google account, or `metadata`: access tokens are made from it"""
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    moderated: bool | None = None
    abortable: bool | None = None
    """closing the connection stops the bill"""
    fetches_urls: bool | None = None
    """reads URLs of images, videos and files by itself"""
    publishes: bool | None = None
    """prompts to its free endpoints may be made public"""
    vendor: str | None = None
    """the known vendor whose quirks, dialect and models apply, where the slug is another one (a second account)"""


class PricingTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """USD per unit as decimal strings; see core.money.Prices for the meaning of each."""

    prompt: str | None = None
    completion: str | None = None
    request: str | None = None
    image: str | None = None
    image_token: str | None = None
    image_output: str | None = None
    audio: str | None = None
    audio_output: str | None = None
    input_audio_cache: str | None = None
    web_search: str | None = None
    internal_reasoning: str | None = None
    input_cache_read: str | None = None
    input_cache_write: str | None = None
    input_cache_write_1h: str | None = None
    discount: str | None = None
    overrides: list[dict[str, str | int]] | None = None
    """[{min_prompt_tokens?, utc_start?, utc_end?, prompt?, …}]"""
    effective: date | None = None
    """first UTC day on which these prices hold; None = they held from the beginning"""


class EndpointTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: str
    upstream_model: str
    max_completion_tokens: int | None = None
    max_prompt_tokens: int | None = None
    context_length: int | None = None
    quantization: str | None = None
    supported_parameters: list[str] | None = None
    tag: str | None = None
    service_tier: Literal["flex", "priority"] | None = None
    """None = as its tag ends, `acme/flex` is one"""
    region: str | None = None
    enabled: bool = True
    """False: it stands here and is never tried"""
    pricing: PricingTable | list[PricingTable] | None = None
    """a list: each holds from its `effective` day until the next one does"""


class ModelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    slug: str
    endpoints: list[EndpointTable]
    name: str | None = None
    description: str = ""
    context_length: int | None = None
    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None
    created: int | None = None
    distillable: bool | None = None
    hidden: bool = False
    coding_score: Decimal | None = None


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All in seconds."""

    connect: float = 5
    first_token: float = 60
    answer: float = 600
    """how long a whole answer, one that is not streamed, may take: its first byte comes when all of it is made"""
    idle: float = 60
    drain_cancelled: float = 60
    """how long an answer is read on after its caller left, where closing does not stop the bill"""


class CatalogTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    price_list: bool = True
    """False: only configured models are served, and the price list is not even loaded"""


class RoutingTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds for every call: what may be routed to at all, and what is done where a request does not say."""

    balance: Literal["price", "order"] = "price"
    sort: Literal["price", "throughput", "latency", "exacto"] | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    zdr: bool = False
    zdr_groups: list[Literal["anthropic", "openai", "google", "xai", "other"]] | None = None
    training_paid: bool = True
    """endpoints that may train on prompts, and cost something"""
    training_free: bool = True
    publication_free: bool = True
    region: str | None = None
    auto: list[str] | None = None
    """models of `openrouter/auto`, the best first"""
    compress: bool | None = None
    """None: on for endpoints with 8,192 tokens of context or less"""
    attempts: int = 3
    retry_percent: int = 20
    retry_floor: int = 10


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    body_bytes: int = 32 * 2**20
    """largest request body; above it 413"""


class IdempotencyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answers to requests with an Idempotency-Key."""

    hours: int = 24
    """how long a key stands for its first request"""
    answer_bytes: int = 2**20
    """largest answer that is kept"""
    total_bytes: int = 256 * 2**20
    """most that is kept of all answers together"""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    server: Server = Server()
    store: StoreTable = StoreTable()
    accounting: AccountingTable = AccountingTable()
    providers: list[ProviderTable] = []
    models: list[ModelTable] = []
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    catalog: CatalogTable = CatalogTable()
    routing: RoutingTable = RoutingTable()
    idempotency: IdempotencyTable = IdempotencyTable()
