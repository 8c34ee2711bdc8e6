"""Hooks of agents: an event reaches the daemon at once, and nothing depends on it.

settings_text     an agent's settings as text: where a hook is put in and taken out, by the byte
agents            which file of which agent, and which of its events
script            the command that an agent runs, and the directory where it leaves events
install           install, remove, status
told              events taken in and kept as facts
"""
