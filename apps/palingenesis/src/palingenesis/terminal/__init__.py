"""`palingenesis run`: a program in a terminal that outlives the window, and goes on after a limit.

frames      messages between the two ends, on a stream of bytes             (pure)
next_step   what follows when the program has stopped                       (pure)
events      what headless agents print, line by line, as facts              (pure)
keys        which typed bytes are a person's                                (pure)
words       the argument lists of the next run, from those of the first     (pure)
screen      the contents of the screen, drawn again for a window that attaches
drawn       pyte's screen, with the little that it lacks
store       the files of terminals: names, locks, records
monitor     the parent of the program in its terminal: its job control
pty         one program on a pseudo-terminal
course      what a terminal does when its program stops
permit      whether the next try may begin, as to its account
look        the session in a terminal, found and judged
holder      the process that holds a terminal
raw         the user's own terminal while it is passed through
client      the end in the user's window
headless    a program whose output is passed on, without a terminal
commands    run, attach, detach, terminals
"""
