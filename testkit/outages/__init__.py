"""Every request of a worker and of the monitor, with everything that can go wrong with it, played with real parts.

matrix           the requests, the ways in which each can fail, and how long and when it does
plan             the cases of a run, and the fleet that plays each
http_request     a request to the model server or the object store, and its name in the matrix
http_proxy       a proxy before both servers that lets chosen requests fail
http_replies     the replies of a server that refuses, lies or limits
database_proxy   a proxy before the database that obstructs chosen statements
database_faults  faults of the database that a statement of its owner makes
file_faults      faults of the local storage root
silent_disk      a file system without an answer
scene            the servers, the database and the fleet of one lane
schoolbook       the submissions of a lane, and the state of their jobs
case_run         one case: enter work, let the fault begin and end, wait for the end
status_truth     the samples of `status` that were not true
verdict          the figures of a case and of a run
lanes            plays the lanes at the same time
report           the figures as JSON, and one line for each case
"""
