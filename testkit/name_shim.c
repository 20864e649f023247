/* getaddrinfo for tests, loaded by LD_PRELOAD. A name with a file `NAME.known` in NAMES_DIRECTORY is this host, and its lookup
   hangs while a file `NAME.hangs` is there. Each lookup that hangs leaves a file `NAME.asked`. With a file `NAME.unknown` the name
   has no address. Other names are looked up as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int is_there(const char *node, const char *kind, int flags) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.%s", getenv("NAMES_DIRECTORY"), node, kind);
    int fd = open(path, flags, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    lookup *ordinary = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || !getenv("NAMES_DIRECTORY") || !is_there(node, "known", O_RDONLY)) return ordinary(node, service, hints, found);
    while (is_there(node, "hangs", O_RDONLY)) {
        is_there(node, "asked", O_WRONLY | O_CREAT);
        usleep(10000);
    }
    if (is_there(node, "unknown", O_RDONLY)) {
        is_there(node, "asked", O_WRONLY | O_CREAT);
        return EAI_NONAME;
    }
    return ordinary("127.0.0.1", service, hints, found);
}
