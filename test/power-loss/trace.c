/*
 * LD_PRELOAD: appends every change of a file below TRACE_ROOT to TRACE_FILE, in the order in which the process made
 * them, over all its threads; and makes chosen ones fail. disk.ts reads the trace.
 *
 * A file below the root called "marks" is the process's own voice: what it writes there is recorded in order with the
 * rest, and a line "!sync K ERRNO TIMES", "!write K …" or "!torn K …" makes the K-th sync or write of data.mdb from
 * there on fail TIMES times ("torn": half of it is written). "!none" ends that and records how many were counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FDS 4096
#define FLAG_DSYNC 1
#define FLAG_DATA 2
#define FLAG_MARKS 4

struct record {
  uint8_t type, flags;
  uint16_t zero;
  int32_t file;
  uint64_t seq, at, length;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096];
static size_t root_length;
static int trace = -1;
static uint64_t next_seq = 1;
static int32_t next_file = 1;
/* 0: not below the root. */
static int32_t files[MAX_FDS];
static uint8_t flags_of[MAX_FDS];

static enum { NONE, SYNC, WRITE, TORN } fault;
static long fault_in, fault_times, counted_syncs, counted_writes;
static int fault_errno;

#define REAL(type, name, ...)                                    \
  static type (*real)(__VA_ARGS__);                              \
  if (real == NULL) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("TRACE_FILE"), *below = getenv("TRACE_ROOT");
  if (path == NULL || below == NULL) return;
  snprintf(root, sizeof root, "%s/", below);
  root_length = strlen(root);
  trace = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (trace < 0) abort();
  /* Not the children of this process. */
  unsetenv("LD_PRELOAD");
}

static uint64_t append(uint8_t type, int32_t file, uint8_t flags, uint64_t at, const void *data, size_t length) {
  struct record head = {type, flags, 0, file, next_seq, at, length};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, length}};
  if (syscall(SYS_writev, trace, parts, 2) != (long)(sizeof head + length)) abort();
  return next_seq++;
}

static int is_known(int fd) { return trace >= 0 && fd >= 0 && fd < MAX_FDS && files[fd] != 0; }

static void opened(int fd, const char *path, int flags) {
  if (fd < 0 || fd >= MAX_FDS) return;
  pthread_mutex_lock(&lock);
  files[fd] = 0;
  size_t length = strlen(path);
  if (trace >= 0 && length > root_length && strncmp(path, root, root_length) == 0) {
    const char *name = path + root_length, *base = strrchr(path, '/') + 1;
    files[fd] = next_file++;
    flags_of[fd] = ((flags & (O_DSYNC | O_SYNC)) != 0 ? FLAG_DSYNC : 0) |
                   (strcmp(base, "data.mdb") == 0 ? FLAG_DATA : 0) | (strcmp(base, "marks") == 0 ? FLAG_MARKS : 0);
    append('O', files[fd], flags_of[fd], (flags & O_TRUNC) != 0, name, strlen(name));
  }
  pthread_mutex_unlock(&lock);
}

#define OPEN(name)                                                       \
  int name(const char *path, int flags, ...) {                           \
    REAL(int, #name, const char *, int, ...);                            \
    mode_t mode = 0;                                                     \
    if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                          \
      va_list rest;                                                      \
      va_start(rest, flags);                                             \
      mode = va_arg(rest, mode_t);                                       \
      va_end(rest);                                                      \
    }                                                                    \
    int fd = real(path, flags, mode);                                    \
    opened(fd, path, flags);                                             \
    return fd;                                                           \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  REAL(int, "close", int);
  if (is_known(fd)) files[fd] = 0;
  return real(fd);
}

/* Is this one to fail? Counts it. Under the lock. */
static int is_faulty(int fd, int is_sync) {
  if ((flags_of[fd] & FLAG_DATA) == 0) return 0;
  if (is_sync) counted_syncs++;
  else counted_writes++;
  if (fault == NONE || (fault == SYNC) != is_sync || --fault_in > 0) return 0;
  if (fault_times-- > 0) return 1;
  fault = NONE;
  return 0;
}

static void obey(const char *text, size_t length) {
  char line[256] = "", kind[16] = "";
  if (length == 0 || text[0] != '!' || length >= sizeof line) return;
  memcpy(line, text, length);
  long k = 0, code = 0, times = 0;
  if (sscanf(line, "!%15s %ld %ld %ld", kind, &k, &code, &times) < 1) return;
  int met = strcmp(kind, "none") == 0 ? fault_in <= 0 : 0;
  fault = strcmp(kind, "sync") == 0 ? SYNC : strcmp(kind, "write") == 0 ? WRITE : strcmp(kind, "torn") == 0 ? TORN : NONE;
  if (fault == NONE) {
    char counts[64];
    int size = snprintf(counts, sizeof counts, "=counted %ld %ld %d\n", counted_syncs, counted_writes, met);
    append('M', 0, 0, 0, counts, size);
  }
  counted_syncs = counted_writes = 0;
  fault_in = k;
  fault_errno = (int)code;
  fault_times = times;
}

typedef ssize_t (*writer)(int fd, const void *data, size_t length, off_t at);

/* One write at a known place. A synchronous one is in the trace before it is made, and a second time when it is done. */
static ssize_t traced(int fd, const void *data, size_t length, off_t at, writer write_at) {
  pthread_mutex_lock(&lock);
  if ((flags_of[fd] & FLAG_MARKS) != 0) {
    append('M', files[fd], 0, at, data, length);
    obey(data, length);
    pthread_mutex_unlock(&lock);
    return write_at(fd, data, length, at);
  }
  int is_bad = is_faulty(fd, 0), code = fault_errno;
  size_t part = is_bad ? (fault == TORN ? length / 2 : 0) : length;
  uint64_t seq = append('W', files[fd], flags_of[fd], at, data, part);
  if ((flags_of[fd] & FLAG_DSYNC) != 0) pthread_mutex_unlock(&lock);
  ssize_t written = part == 0 ? 0 : write_at(fd, data, part, at);
  if (written != (ssize_t)part) abort();
  if ((flags_of[fd] & FLAG_DSYNC) != 0) {
    pthread_mutex_lock(&lock);
    if (!is_bad) append('D', files[fd], 0, seq, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  if (!is_bad) return written;
  errno = code;
  return -1;
}

static ssize_t plain_pwrite(int fd, const void *data, size_t length, off_t at) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
  return real(fd, data, length, at);
}

static ssize_t plain_write(int fd, const void *data, size_t length, off_t at) {
  REAL(ssize_t, "write", int, const void *, size_t);
  (void)at;
  return real(fd, data, length);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
  return is_known(fd) ? traced(fd, data, length, at, plain_pwrite) : plain_pwrite(fd, data, length, at);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) { return pwrite(fd, data, length, at); }

ssize_t write(int fd, const void *data, size_t length) {
  if (!is_known(fd)) return plain_write(fd, data, length, 0);
  return traced(fd, data, length, lseek(fd, 0, SEEK_CUR), plain_write);
}

static void *gather(const struct iovec *parts, int count, size_t *length) {
  *length = 0;
  for (int i = 0; i < count; i++) *length += parts[i].iov_len;
  char *all = malloc(*length + 1), *end = all;
  if (all == NULL) abort();
  for (int i = 0; i < count; i++) end = mempcpy(end, parts[i].iov_base, parts[i].iov_len);
  return all;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  if (!is_known(fd)) return real(fd, parts, count);
  size_t length;
  void *all = gather(parts, count, &length);
  ssize_t written = write(fd, all, length);
  int code = errno;
  free(all);
  errno = code;
  return written;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  REAL(ssize_t, "pwritev64", int, const struct iovec *, int, off_t);
  if (!is_known(fd)) return real(fd, parts, count, at);
  size_t length;
  void *all = gather(parts, count, &length);
  ssize_t written = pwrite(fd, all, length, at);
  int code = errno;
  free(all);
  errno = code;
  return written;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return pwritev(fd, parts, count, at); }

int ftruncate(int fd, off_t length) {
  REAL(int, "ftruncate64", int, off_t);
  if (!is_known(fd)) return real(fd, length);
  pthread_mutex_lock(&lock);
  int result = real(fd, length);
  if (result == 0) append('T', files[fd], flags_of[fd], length, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

/* What was written before it begins is on the disk when it has ended; what is written meanwhile may be or not. */
static int synced(int fd, int (*real)(int)) {
  if (!is_known(fd)) return real(fd);
  pthread_mutex_lock(&lock);
  uint64_t begun = append('B', files[fd], flags_of[fd], 0, NULL, 0);
  int is_bad = is_faulty(fd, 1), code = fault_errno;
  pthread_mutex_unlock(&lock);
  int result = is_bad ? -1 : real(fd);
  if (is_bad) errno = code;
  else code = errno;
  pthread_mutex_lock(&lock);
  append(result == 0 ? 'E' : 'F', files[fd], 0, begun, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = code;
  return result;
}

int fsync(int fd) {
  REAL(int, "fsync", int);
  return synced(fd, real);
}

int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  return synced(fd, real);
}

/* A shared writable map would be a way past the trace. */
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t at) {
  REAL(void *, "mmap64", void *, size_t, int, int, int, off_t);
  if (is_known(fd) && (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0) {
    pthread_mutex_lock(&lock);
    append('X', files[fd], flags_of[fd], 0, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  return real(address, length, protection, flags, fd, at);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t at) {
  return mmap(address, length, protection, flags, fd, at);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  int result = real(from, to);
  if (result == 0 && trace >= 0 && strncmp(to, root, root_length) == 0 && strncmp(from, root, root_length) == 0) {
    char names[2 * sizeof root];
    size_t length = snprintf(names, sizeof names, "%s%c%s", from + root_length, 0, to + root_length);
    if (length >= sizeof names) abort();
    pthread_mutex_lock(&lock);
    append('R', 0, 0, 0, names, length);
    pthread_mutex_unlock(&lock);
  }
  return result;
}

/*
 * lmdb 3.5.6 describes a failed page write in 100 bytes, which are too few (mdb.c, "Attempting to write page"): the heap
 * is damaged, and the process sometimes dies. It gets more here, so that what comes after can be tested.
 */
extern void *__libc_malloc(size_t size);
void *malloc(size_t size) { return __libc_malloc(size == 100 ? 256 : size); }

/* A disk that says ENOSPC has no room, whoever asks. */
static int is_full(void) {
  pthread_mutex_lock(&lock);
  int full = fault != NONE && fault_in <= 0 && fault_errno == ENOSPC;
  /* Who asks first writes nothing: that must not last for ever. */
  if (full && --fault_times <= 0) fault = NONE;
  pthread_mutex_unlock(&lock);
  return full;
}

int statfs(const char *path, struct statfs *out) {
  REAL(int, "statfs", const char *, struct statfs *);
  int result = real(path, out);
  if (result == 0 && is_full()) out->f_bavail = out->f_bfree = 0;
  return result;
}

int statfs64(const char *path, struct statfs64 *out) {
  REAL(int, "statfs64", const char *, struct statfs64 *);
  int result = real(path, out);
  if (result == 0 && is_full()) out->f_bavail = out->f_bfree = 0;
  return result;
}
