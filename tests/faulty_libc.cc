// Preloaded into a process: counts the C library's calls that change what lies
// under a directory, and at a chosen one ends the process or has the call fail.
//
//     MOE_FAULT_UNDER   the directory; without it nothing is counted
//     MOE_FAULT_LOG     a file that gets the name of each call, a line each
//     MOE_FAULT_AT      number of the call, counted from 1; 0: every one
//     MOE_FAULT         what to do there:
//
//     before, after     end the process, by _exit(99)
//     a number          fail with that errno, having done nothing
//     short             take one byte of a write
//     again             EINTR of an open, a write or a sync; the next one works
//
// The calls are those that the GNU C library has for it; what would go past
// them is a system call made by hand.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kEndedHere = 99;
constexpr int kMaxDescriptors = 1024;

std::atomic<int> calls = 0;
std::atomic<bool> interrupted = false;
// Of each descriptor: not under the directory, or there and read, or written.
enum { kNotUnder, kRead, kWritten };
std::atomic<int> watched[kMaxDescriptors];

const char* Setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool IsUnder(const char* path) {
  const char* root = Setting("MOE_FAULT_UNDER");
  const size_t length = std::strlen(root);
  return length > 0 && path != nullptr &&
         std::strncmp(path, root, length) == 0 &&
         (path[length] == '/' || path[length] == '\0');
}

bool IsWatched(int descriptor) {
  return descriptor >= 0 && descriptor < kMaxDescriptors &&
         watched[descriptor] != kNotUnder;
}

bool IsUnder(int directory, const char* path) {
  return path != nullptr && path[0] == '/' ? IsUnder(path)
                                           : IsWatched(directory);
}

void Watch(int descriptor, int how) {
  if (descriptor >= 0 && descriptor < kMaxDescriptors)
    watched[descriptor] = how;
}

// By a system call, so as not to count itself.
void Log(const char* name) {
  const long file = syscall(SYS_openat, AT_FDCWD, Setting("MOE_FAULT_LOG"),
                            O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file < 0) return;
  char line[64];
  const int length = std::snprintf(line, sizeof(line), "%s\n", name);
  syscall(SYS_write, file, line, static_cast<size_t>(length));
  syscall(SYS_close, file);
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool CanBeInterrupted(const char* name) {
  return std::strcmp(name, "open") == 0 || std::strcmp(name, "write") == 0 ||
         std::strcmp(name, "fsync") == 0;
}

// One call under the directory: `perform`, or what was asked for in its place.
template <typename Perform>
auto Call(const char* name, bool counts, Perform perform)
    -> decltype(perform()) {
  if (!counts) return perform();
  Log(name);
  const int number = ++calls;
  const char* fault = Setting("MOE_FAULT");
  const int at = std::atoi(Setting("MOE_FAULT_AT"));
  if (*fault == '\0' || (at != 0 && at != number)) return perform();
  if (std::strcmp(fault, "before") == 0) _exit(kEndedHere);
  if (std::strcmp(fault, "after") == 0) {
    perform();
    _exit(kEndedHere);
  }
  if (std::strcmp(fault, "again") == 0 && CanBeInterrupted(name)) {
    interrupted = !interrupted;
    if (!interrupted) return perform();
    errno = EINTR;
    return -1;
  }
  if (std::atoi(fault) == 0) return perform();
  errno = std::atoi(fault);
  return -1;
}

int OpenAt(const char* name, int directory, const char* path, int flags,
           mode_t mode) {
  using Open = int(int, const char*, int, ...);
  static Open* const next = Next<Open>("openat64");
  const bool under = IsUnder(directory, path);
  // Reading changes nothing.
  const bool writes = (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0;
  const int descriptor = Call(name, under && writes, [&] {
    return next(directory, path, flags, mode);
  });
  Watch(descriptor, !under ? kNotUnder : writes ? kWritten : kRead);
  return descriptor;
}

}  // namespace

#define MOE_MODE(flags)                 \
  mode_t mode = 0;                      \
  if ((flags & O_CREAT) != 0) {         \
    va_list arguments;                  \
    va_start(arguments, flags);         \
    mode = va_arg(arguments, unsigned); \
    va_end(arguments);                  \
  }

extern "C" {

int open(const char* path, int flags, ...) {
  MOE_MODE(flags)
  return OpenAt("open", AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  MOE_MODE(flags)
  return OpenAt("open", AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  MOE_MODE(flags)
  return OpenAt("open", directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  MOE_MODE(flags)
  return OpenAt("open", directory, path, flags, mode);
}

ssize_t write(int descriptor, const void* bytes, size_t size) {
  static auto* const next = Next<ssize_t(int, const void*, size_t)>("write");
  const bool one = std::strcmp(Setting("MOE_FAULT"), "short") == 0 &&
                   IsWatched(descriptor) && size > 1;
  return Call("write", IsWatched(descriptor),
              [&] { return next(descriptor, bytes, one ? 1 : size); });
}
ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t at) {
  static auto* const next =
      Next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return Call("pwrite", IsWatched(descriptor),
              [&] { return next(descriptor, bytes, size, at); });
}
int fsync(int descriptor) {
  static auto* const next = Next<int(int)>("fsync");
  return Call("fsync", IsWatched(descriptor), [&] { return next(descriptor); });
}
int fdatasync(int descriptor) {
  static auto* const next = Next<int(int)>("fdatasync");
  return Call("fdatasync", IsWatched(descriptor),
              [&] { return next(descriptor); });
}
int close(int descriptor) {
  static auto* const next = Next<int(int)>("close");
  const bool written = IsWatched(descriptor) && watched[descriptor] == kWritten;
  Watch(descriptor, kNotUnder);
  return Call("close", written, [&] { return next(descriptor); });
}
int rename(const char* from, const char* to) {
  static auto* const next = Next<int(const char*, const char*)>("rename");
  return Call("rename", IsUnder(from) || IsUnder(to),
              [&] { return next(from, to); });
}
int mkdir(const char* path, mode_t mode) {
  static auto* const next = Next<int(const char*, mode_t)>("mkdir");
  return Call("mkdir", IsUnder(path), [&] { return next(path, mode); });
}
int unlink(const char* path) {
  static auto* const next = Next<int(const char*)>("unlink");
  return Call("unlink", IsUnder(path), [&] { return next(path); });
}
int rmdir(const char* path) {
  static auto* const next = Next<int(const char*)>("rmdir");
  return Call("unlink", IsUnder(path), [&] { return next(path); });
}
int remove(const char* path) {
  static auto* const next = Next<int(const char*)>("remove");
  return Call("unlink", IsUnder(path), [&] { return next(path); });
}
int unlinkat(int directory, const char* path, int flags) {
  static auto* const next = Next<int(int, const char*, int)>("unlinkat");
  return Call("unlink", IsUnder(directory, path),
              [&] { return next(directory, path, flags); });
}

}  // extern "C"
