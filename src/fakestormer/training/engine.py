"""The processes of a run: how they start, get Ctrl-C, and hand back errors."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeVar

import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from fakestormer.errors import InputError, SetupError, TrainingError, needs
from fakestormer.parallel.threads import core_count
from fakestormer.training.interrupt import interruptible
from fakestormer.training.settings import TrainSettings

with needs("training", "fakestormer[train]"):
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.strategy import Strategy

Result = TypeVar("Result")


def launch(
    run: Callable[[Fabric], Result],
    settings: TrainSettings,
    *,
    precision: Literal["32-true", "bf16-mixed"],
    idle: bool,
) -> Result:
    """`run` in every process of the run; the result of the first one here.

    Under torchrun and SLURM the processes exist already, and each calls this. Else, with several
    machines, the same command is started on each with MASTER_ADDR, MASTER_PORT and NODE_RANK set.
    idle: whether some parameters may get no gradient; DDP must not wait for them.

    Ctrl-C and SIGTERM reach the processes started here, and then their result is waited for. An
    InputError or TrainingError in one of them is raised here.
    """
    devices, num_nodes = settings.devices, settings.num_nodes
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=_strategy(devices, num_nodes, idle=idle),
        precision=precision,
    )
    if not _spawns(devices, num_nodes):
        result: Result = fabric.launch(run)
        return result
    try:
        with interruptible(_pass_on) as asked:
            spawned: Result = fabric.launch(partial(_then_part, run))
    except ProcessExitedException as error:
        if asked.is_set():  # before they were ready to save: nothing had been done
            raise KeyboardInterrupt from error
        raise
    except ProcessRaisedException as error:
        raise _translated(error) from error
    return spawned


def _then_part(run: Callable[[Fabric], Result], fabric: Fabric) -> Result:
    """`run`, after which the processes end their group together.

    One that ends while the group's threads still run is aborted now and then, by C++, after all its
    work is done ("terminate called without an active exception"), and fails the run. Only where
    the processes are ours and end here: under torchrun and SLURM the group belongs to the caller.
    """
    result = run(fabric)
    fabric.barrier()
    torch.distributed.destroy_process_group()
    return result


def leaves_idle(architecture: str, branches: tuple[str, ...], freeze_epochs: int) -> bool:
    """Whether some parameters get no gradient: frozen ones, or those of a missing head."""
    return freeze_epochs > 0 or architecture != "fakestormer" or not {"h", "g"} <= set(branches)


def threads(processes: int) -> int:
    """Threads for one of `processes` that train on the CPU: its cores but one, which loads clips.

    More threads than cores wait for each other in a spin, which costs more than they bring. The
    number does not depend on `workers`, because it changes the last bits of sums, and with them
    whether a resumed run gives the same losses.
    """
    return max(1, core_count() // processes - 1)


def _exist_already() -> bool:
    """Whether somebody else starts the processes of the run."""
    return bool(TorchElasticEnvironment.detect() or SLURMEnvironment.detect())


def _spawns(devices: int, num_nodes: int) -> bool:
    return (devices > 1 or num_nodes > 1) and not _exist_already()


def _strategy(devices: int, num_nodes: int, *, idle: bool) -> Strategy | str:
    """DDP for several processes."""
    if _spawns(devices, num_nodes):
        return DDPStrategy(start_method="spawn", find_unused_parameters=idle)
    if devices > 1 or num_nodes > 1 or TorchElasticEnvironment.detect():
        return DDPStrategy(start_method="popen", find_unused_parameters=idle)
    return "auto"


def _pass_on() -> None:
    """SIGTERM for the processes of the run, which save and end.

    Not Ctrl-C: a terminal's reaches them too, and a second one would end them.
    """
    for process in multiprocessing.active_children():
        process.terminate()


def _translated(error: ProcessRaisedException) -> Exception:
    """The error that a process raised, of which only the printed traceback is left."""
    last = str(error).strip().splitlines()[-1]
    name, _, sentence = last.partition(": ")
    kind = name.rpartition(".")[2]
    if kind in ("NonFiniteLossError", "TrainingError"):
        return TrainingError(sentence)
    if kind in ("InputError", "NoFaceError"):
        return InputError(sentence)
    if kind == "SetupError":
        return SetupError(sentence)
    return error
