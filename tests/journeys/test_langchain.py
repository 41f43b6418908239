"""LangChain's ``ChatOpenAI``, pointed at Ostinato by base URL and key alone."""

from typing import Any

import pytest
from harness import Running
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

BOTH = pytest.mark.parametrize("behind", ["openai", "claude"])


@tool
def search(query: str, n: int = 1) -> str:
    """Search for something."""
    return f"found {query} {n}"


def model(gateway: Running, alias: str, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, model=alias, max_retries=0, **options)  # pyright: ignore


def alias(behind: str, mood: str = "") -> str:
    return f"{behind}-{mood}" if mood else {"openai": "plain", "claude": "claude"}[behind]


@BOTH
def test_invoke_and_stream(gateway: Running, behind: str) -> None:
    before = gateway.upstream.count()
    llm = model(gateway, alias(behind), temperature=0)
    messages = [SystemMessage("Be brief."), HumanMessage("langchain: hello")]
    first, again = llm.invoke(messages), llm.invoke(messages)
    assert first.content == again.content
    assert first.usage_metadata == again.usage_metadata
    assert first.usage_metadata and first.usage_metadata["total_tokens"] > 0
    chunks = list(llm.stream(messages))
    assert "".join(str(chunk.content) for chunk in chunks) == first.content
    assert gateway.upstream.count() == before + 1


async def test_async(gateway: Running) -> None:
    for behind in ("openai", "claude"):  # LangChain keeps one client per process: both in one event loop
        llm = model(gateway, alias(behind))
        one = await llm.ainvoke("langchain: async")
        assert "".join([str(chunk.content) async for chunk in llm.astream("langchain: async")]) == one.content


@BOTH
def test_tools(gateway: Running, behind: str) -> None:
    llm = model(gateway, alias(behind, "tools")).bind_tools([search])
    messages: list[Any] = [HumanMessage("langchain: look it up")]
    answer = llm.invoke(messages)
    assert [call["name"] for call in answer.tool_calls] == ["search"]
    streamed: Any = None
    for chunk in llm.stream(messages):
        streamed = chunk if streamed is None else streamed + chunk
    assert [(c["name"], c["args"]) for c in streamed.tool_calls] == [(c["name"], c["args"]) for c in answer.tool_calls]
    result = search.invoke(answer.tool_calls[0]["args"])
    messages += [answer, ToolMessage(result, tool_call_id=answer.tool_calls[0]["id"])]
    final = model(gateway, alias(behind)).bind_tools([search]).invoke(messages)
    assert final.content
    assert not final.tool_calls


def test_embeddings(gateway: Running) -> None:
    embedder = OpenAIEmbeddings(
        base_url=f"{gateway.url}/v1", api_key=gateway.key, model="vectors", check_embedding_ctx_length=False
    )  # pyright: ignore
    before = gateway.upstream.count()
    vectors = embedder.embed_documents(["langchain: one", "langchain: two"])
    assert embedder.embed_query("langchain: two") == vectors[1]
    assert gateway.upstream.count() == before + 1
