"""The pools of threads have the size they were told, also for the thread that answers."""

import faiss
import threadpoolctl

from services import runtime
from services.batcher import Batcher


def test_pools_have_their_size_on_the_thread_that_answers() -> None:
    runtime.set_threads(1)
    answering: Batcher[int, int] = Batcher(list, 1, 60.0, begin=runtime.size_for_this_thread)
    try:
        assert answering.do(faiss.omp_get_max_threads).result() == 1
        blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        assert blas
        assert {pool["num_threads"] for pool in blas} == {1}
    finally:
        answering.close()
