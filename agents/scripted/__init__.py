"""Scripted stand-ins: a loopback server that speaks the OpenAI protocol and plays engineers from playbooks."""
