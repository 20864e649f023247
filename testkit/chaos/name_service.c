/* Preloaded into the fleets: name lookups get no answer while the file CHAOS_NAMES_HANG exists, and two names are this host.
   Addresses in numbers need no lookup. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int is_number(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static void wait_for_an_answer(void)
{
    const struct timespec pause = {0, 50 * 1000 * 1000};
    const char *hang = getenv("CHAOS_NAMES_HANG");
    while (hang && access(hang, F_OK) == 0)
        nanosleep(&pause, NULL);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && !is_number(name)) {
        wait_for_an_answer();
        if (!strcmp(name, "modelserver") || !strcmp(name, "database"))
            name = "127.0.0.1";
    }
    return real(name, service, hints, found);
}
