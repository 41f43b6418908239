"""``/explain``: everything behind one answer."""

from litestar import get
from litestar.params import FromPath

from ostinato.access.permissions import allows
from ostinato.explaining import Explanation
from ostinato.traces import Filter
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.cache import project_within_reach
from ostinato.web.api.guarding import PERMISSION, caller_of


@get("/explain/{request_id:str}", opt={PERMISSION: "explain:read"})
async def explain(request: Req, request_id: FromPath[str]) -> Explanation:
    """One request, by its id or by the ``x-request-id`` that the client gave: from its intent to its audit proof.

    Parts that do not apply are ``null``, and ``absent`` says why. Texts only with ``traces:text``.
    """
    caller = caller_of(request)
    within = Filter(org=caller.org, project=await project_within_reach(request, ""))
    texts = allows(caller, "traces:text")
    return await plane_of(request).explainer.explain(caller, request_id, within, texts=texts)


HANDLERS = (explain,)
