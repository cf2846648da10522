"""The service that `restate_bench.py` measures."""

import restate

service = restate.Service("bench")


@service.handler()
async def chain(ctx: restate.Context, n: int) -> int:
    """Run one durable step after the other."""
    x = 0
    for i in range(n):
        x = await ctx.run_typed(f"s{i}", lambda x=x: x)
    return x


@service.handler()
async def fan(ctx: restate.Context, n: int) -> int:
    """Run all durable steps at once."""
    pending = [ctx.run_typed(f"s{i}", lambda i=i: i) for i in range(n)]
    for step in pending:
        await step
    return n


@service.handler()
async def one(ctx: restate.Context, n: int) -> int:
    """Run one durable step."""
    return await ctx.run_typed("s", lambda: n)


app = restate.app([service])
