"""A real fleet on a real server, everything broken at random, and an account of every submission at the end.

plan      what will be handed in and what will go violation: drawn from the seed, and from nothing else
stream    the submissions: made from seed and number, entered as the platform does
environment     database, model server, files and the two fleets
scheduler    what is to be done when
fleet     one supervisor as systemd keeps it: started again whenever it ends
gateway   the network between a fleet and the database server
strike    how each kind of fault comes about
hunt      goes after one job
run       plays the plan, then waits until the queue is empty
witness   what the database and the model server saw, as records
record  these records
verdict   what is wrong with them: lost, written twice, read again, failed without a reason
rerun     why a job was begun again
pace      how long nothing went on, and how long each fault was felt
report    the figures, as a table or as JSON; of what is wrong, the whole story
"""
