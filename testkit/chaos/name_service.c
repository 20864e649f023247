/* Preloaded into the fleets. The lookup of a name gets no answer while the file CHAOS_NAMES_HANG exists and contains this name.
   Two names are this host. Addresses in numbers need no lookup. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
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

static int hangs(const char *name)
{
    const char *path = getenv("CHAOS_NAMES_HANG");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char found[64] = "";
    if (file < 0)
        return 0;
    if (read(file, found, sizeof found - 1) < 0)
        found[0] = 0;
    close(file);
    return !strcmp(found, name);
}

static void wait_for_an_answer(const char *name)
{
    const struct timespec pause = {0, 50 * 1000 * 1000};
    while (hangs(name))
        nanosleep(&pause, NULL);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && !is_number(name)) {
        wait_for_an_answer(name);
        if (!strcmp(name, "modelserver") || !strcmp(name, "database"))
            name = "127.0.0.1";
    }
    return real(name, service, hints, found);
}
