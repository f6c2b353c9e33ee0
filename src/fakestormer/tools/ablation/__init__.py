"""The paper's ablations, trained and evaluated by the same commands as everything else."""
