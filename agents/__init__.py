"""One agent, one instance, one model at a time: mini-swe-agent in a container, with counted costs and faults.

Import what you need from its module (`agents.runner.run_agent`, `agents.pool.ModelConfig`, …): this package imports
nothing itself, so that looking at a configuration never pays for loading LiteLLM.
"""
