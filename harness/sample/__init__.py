"""The embedded sample benchmark: 15 small packages with a defect each, in the official task-repo layout of swebench 5.

`repo/` is what a dataset is to the official harness (`swebench eval` reads it, or its rows, as they are); `playbook/`
says what each scripted stand-in model does on each instance.
"""

from pathlib import Path

TASK_REPO = Path(__file__).parent / "repo"
PLAYBOOK = Path(__file__).parent / "playbook"
RECORDED = Path(__file__).parent / "recorded.csv"
"""What each cell of the sample took in a run of it (columns of its `outcomes.sqlite`), for estimates."""
