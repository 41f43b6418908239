"""A process that spends from one purse as fast as it can until it is refused or killed: ``spend.py URL ACCOUNT LIMIT``.

Each cost is written to standard output before it is settled, as a provider would have charged it by then.
"""

import asyncio
import os
import random
import sys

from ostinato import storage
from ostinato.access import Account, Budgets, Caller, MoneyBudget, Settings
from ostinato.core.clock import SystemClock
from ostinato.core.errors import LimitReached


async def main(url: str, account: str, limit: int) -> None:
    database = storage.open_database("control", url, readers=2)
    budgets = Budgets(database, SystemClock(), Settings(lease_share=0.02, lease_minimum="0.000001"))
    purse = Account(account, MoneyBudget(limit, "total"))
    caller = Caller(key_id="k", key_prefix="ost_", org="o", project="p", accounts=(purse,))

    async def work() -> None:
        while True:
            estimate = random.randint(1, limit // 1_000)
            try:
                reservation = await budgets.reserve(caller, estimate)
            except LimitReached:
                return
            await asyncio.sleep(0.001)
            cost = random.randint(0, estimate)
            os.write(1, b"%d\n" % cost)
            budgets.settle(reservation, cost)

    tidying = asyncio.get_running_loop().create_task(budgets.run())
    await asyncio.gather(*(work() for _ in range(32)))
    tidying.cancel()
    await budgets.stop()
    database.close()
    os.write(2, b"clean\n")


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
