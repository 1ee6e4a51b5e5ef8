/* A job that does nothing but tell when it began: appends CLOCK_MONOTONIC in nanoseconds to a file. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    char line[32];
    int file, length;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc != 2)
        return 2;
    length = snprintf(line, sizeof line, "%lld\n", (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    file = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600);
    return file < 0 || write(file, line, (size_t)length) != length;
}
