"""The typed client of Routebook, and of any server that speaks the OpenRouter API: `Routebook` and `AsyncRoutebook`.

    from routebook.client import Routebook

    with Routebook(api_key="sk-rb-v1-...") as client:
        answer = client.chat.send(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])
        print(answer.text)
        print(client.generations.get(answer.generation_id).data.total_cost)

        with client.chat.send(model="openai/gpt-4o-mini", messages=[...], stream=True) as stream:
            for chunk in stream:
                print(chunk.text, end="", flush=True)
        print(stream.usage.cost)

Without arguments the key comes from `ROUTEBOOK_API_KEY` and the address from `ROUTEBOOK_BASE_URL` (default
`http://127.0.0.1:8080/api/v1`; OpenRouter's own is `https://openrouter.ai/api/v1`). The package stands alone: it uses
nothing else of Routebook. Files: `sync` and `aio` hold the IO, `calls` what they share, `stream` the reading of
streams, `errors` what may be raised, `records`, `chats`, `catalogue`, `accounts`, `book` the types, `codec` their JSON.
"""

from .accounts import (
    CreateKeyResponseBody,
    CreditsData,
    CurrentKeyData,
    DeleteKeyResponseBody,
    GetCreditsResponseBody,
    GetCurrentKeyResponseBody,
    KeyChanges,
    KeyData,
    KeyFields,
    KeyResponseBody,
    ListKeysResponseBody,
)
from .aio import AsyncChatStream, AsyncRoutebook
from .book import (
    ChainHead,
    CompletenessData,
    DaybookState,
    DeletedCalls,
    GetCompletenessResponseBody,
    RowRange,
    StateCounts,
)
from .catalogue import (
    EndpointData,
    ListEndpointsResponseBody,
    ListModelsResponseBody,
    ModelArchitecture,
    ModelData,
    ModelEndpointsData,
    PercentileStats,
    Pricing,
    PricingOverride,
    TopProvider,
)
from .chats import (
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatLogprobs,
    ChatMessage,
    ChatUsage,
    CompletionTokensDetails,
    CostDetails,
    FunctionCall,
    PromptTokensDetails,
    TokenLogprob,
    ToolCall,
)
from .codec import Price
from .errors import (
    BadArgument,
    BadRequest,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Gone,
    NotFound,
    PayloadTooLarge,
    PaymentRequired,
    PreconditionFailed,
    ProviderOverloaded,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestTimeout,
    RoutebookError,
    ServerError,
    StreamCut,
    TimedOut,
    Unauthorized,
    Unprocessable,
    UnreadableAnswer,
)
from .records import (
    CancelGenerationData,
    CancelGenerationResponseBody,
    GetGenerationData,
    GetGenerationResponseBody,
    ProviderResponse,
)
from .sync import ChatStream, Routebook

__all__ = [
    "AsyncChatStream",
    "AsyncRoutebook",
    "BadArgument",
    "BadRequest",
    "CancelGenerationData",
    "CancelGenerationResponseBody",
    "ChainHead",
    "ChatChoice",
    "ChatChunk",
    "ChatChunkChoice",
    "ChatCompletion",
    "ChatLogprobs",
    "ChatMessage",
    "ChatStream",
    "ChatUsage",
    "CompletenessData",
    "CompletionTokensDetails",
    "Conflict",
    "ConnectionFailed",
    "CostDetails",
    "CreateKeyResponseBody",
    "CreditsData",
    "CurrentKeyData",
    "DaybookState",
    "DeleteKeyResponseBody",
    "DeletedCalls",
    "EndpointData",
    "Forbidden",
    "FunctionCall",
    "GetCompletenessResponseBody",
    "GetCreditsResponseBody",
    "GetCurrentKeyResponseBody",
    "GetGenerationData",
    "GetGenerationResponseBody",
    "Gone",
    "KeyChanges",
    "KeyData",
    "KeyFields",
    "KeyResponseBody",
    "ListEndpointsResponseBody",
    "ListKeysResponseBody",
    "ListModelsResponseBody",
    "ModelArchitecture",
    "ModelData",
    "ModelEndpointsData",
    "NotFound",
    "PayloadTooLarge",
    "PaymentRequired",
    "PercentileStats",
    "PreconditionFailed",
    "Price",
    "Pricing",
    "PricingOverride",
    "PromptTokensDetails",
    "ProviderOverloaded",
    "ProviderResponse",
    "ProviderTimeout",
    "ProviderUnavailable",
    "RateLimited",
    "RequestTimeout",
    "Routebook",
    "RoutebookError",
    "RowRange",
    "ServerError",
    "StateCounts",
    "StreamCut",
    "TimedOut",
    "TokenLogprob",
    "ToolCall",
    "TopProvider",
    "Unauthorized",
    "Unprocessable",
    "UnreadableAnswer",
]
