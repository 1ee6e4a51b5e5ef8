/* A job that prints: print BYTES TIMES out|both|null [FOLDER N]. BYTES are written TIMES times, to stdout, to
   both streams, or to /dev/null. With FOLDER and N it first waits until N of its kind are in FOLDER. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int entries(const char *folder)
{
    int n = 0;
    struct dirent *entry;
    DIR *open = opendir(folder);
    if (open == NULL)
        exit(1);
    while ((entry = readdir(open)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(open);
    return n;
}

static void assemble(const char *folder, int n)
{
    const struct timespec pause = {0, 5000000};
    char path[4096];
    int file;
    snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
    file = open(path, O_WRONLY | O_CREAT, 0600);
    if (file < 0)
        exit(1);
    close(file);
    while (entries(folder) < n)
        nanosleep(&pause, NULL);
}

static void print(int stream, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(stream, bytes, n);
        if (written <= 0)
            exit(1);
        bytes += written;
        n -= (size_t)written;
    }
}

int main(int argc, char **argv)
{
    size_t n_bytes;
    long n_times;
    char *bytes;
    if (argc != 4 && argc != 6)
        return 2;
    n_bytes = strtoul(argv[1], NULL, 10);
    n_times = strtol(argv[2], NULL, 10);
    bytes = malloc(n_bytes + 1);
    if (bytes == NULL)
        return 1;
    memset(bytes, 'x', n_bytes);
    if (n_bytes > 0)
        bytes[n_bytes - 1] = '\n';
    if (strcmp(argv[3], "null") == 0 && dup2(open("/dev/null", O_WRONLY), 1) != 1)
        return 1;
    if (argc == 6)
        assemble(argv[4], atoi(argv[5]));
    while (n_times-- > 0) {
        print(1, bytes, n_bytes);
        if (strcmp(argv[3], "both") == 0)
            print(2, bytes, n_bytes);
    }
    return 0;
}
