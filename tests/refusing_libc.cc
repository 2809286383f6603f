// Preloaded into a process: refuses what some file systems, limits and machines
// do not have.
//
//     MOE_REFUSE_FLOCK     errno of every flock
//     MOE_REFUSE_FCNTL     errno of every fcntl that locks
//     MOE_REFUSE_SHARED    errno of every shared mapping of a file under the
//                          directory MOE_REFUSE_UNDER
//     MOE_REFUSE_SYNC      errno of every fsync
//     MOE_MOST_THREADS     threads beside the first; pthread_create of one more
//                          fails with EAGAIN
//     MOE_REFUSE_NEW       number, from 1, of the operator new that is refused
//                          once, since there is a new-handler
//     MOE_REFUSE_SINCE     the end of a directory's name: operators new count
//                          since one of such a name was made
//     MOE_REFUSE_RANK      these limits are of this rank of mpirun's alone

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

std::atomic<long> threads = 0;
std::atomic<long> news = 0;
std::atomic<bool> is_made = false;  // the directory of MOE_REFUSE_SINCE

long Number(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? 0 : std::atol(value);
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// True, and errno set, if that is refused.
bool Refuses(const char* name) {
  const long error = Number(name);
  if (error != 0) errno = static_cast<int>(error);
  return error != 0;
}

bool IsItsRank() {
  const char* chosen = std::getenv("MOE_REFUSE_RANK");
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  return chosen == nullptr ||
         (rank != nullptr && std::strcmp(chosen, rank) == 0);
}

bool IsUnder(int descriptor) {
  const char* root = std::getenv("MOE_REFUSE_UNDER");
  char link[64];
  char target[4096];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const ssize_t size = readlink(link, target, sizeof(target));
  return root != nullptr && size >= static_cast<ssize_t>(std::strlen(root)) &&
         std::strncmp(target, root, std::strlen(root)) == 0;
}

// A thread, which no longer counts when it ends.
struct Thread {
  void* (*start)(void*);
  void* argument;
};
void* Run(void* thread) {
  const Thread copy = *static_cast<Thread*>(thread);
  std::free(thread);
  void* const result = copy.start(copy.argument);
  --threads;
  return result;
}

bool EndsAsAsked(const char* path) {
  const char* end = std::getenv("MOE_REFUSE_SINCE");
  if (end == nullptr) return false;
  const size_t size = std::strlen(path);
  const size_t length = std::strlen(end);
  return size >= length && std::strcmp(path + size - length, end) == 0;
}

// Of the call of this number; read once, since operator new is called often.
bool RefusesNew() {
  static const long number = IsItsRank() ? Number("MOE_REFUSE_NEW") : 0;
  static const bool waits = std::getenv("MOE_REFUSE_SINCE") != nullptr;
  return number != 0 && std::get_new_handler() != nullptr &&
         (is_made || !waits) && ++news == number;
}

}  // namespace

extern "C" {

int flock(int descriptor, int operation) {
  static auto* const next = Next<int(int, int)>("flock");
  return Refuses("MOE_REFUSE_FLOCK") ? -1 : next(descriptor, operation);
}

int fcntl64(int descriptor, int command, ...) {
  static auto* const next = Next<int(int, int, ...)>("fcntl64");
  va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  const bool locks = command == F_SETLK || command == F_SETLKW ||
                     command == F_OFD_SETLK || command == F_OFD_SETLKW;
  if (locks && Refuses("MOE_REFUSE_FCNTL")) return -1;
  return next(descriptor, command, argument);
}
int fcntl(int descriptor, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  return fcntl64(descriptor, command, argument);
}

void* mmap(void* at, size_t size, int protection, int flags, int descriptor,
           off_t offset) {
  static auto* const next =
      Next<void*(void*, size_t, int, int, int, off_t)>("mmap");
  if (descriptor >= 0 && (flags & MAP_SHARED) != 0 && IsUnder(descriptor) &&
      Refuses("MOE_REFUSE_SHARED"))
    return MAP_FAILED;
  return next(at, size, protection, flags, descriptor, offset);
}
void* mmap64(void* at, size_t size, int protection, int flags, int descriptor,
             off_t offset) {
  return mmap(at, size, protection, flags, descriptor, offset);
}

int fsync(int descriptor) {
  static auto* const next = Next<int(int)>("fsync");
  return Refuses("MOE_REFUSE_SYNC") ? -1 : next(descriptor);
}

int mkdir(const char* path, mode_t mode) {
  static auto* const next = Next<int(const char*, mode_t)>("mkdir");
  const int result = next(path, mode);
  if (result == 0 && EndsAsAsked(path)) is_made = true;
  return result;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                   void* (*start)(void*), void* argument) {
  static auto* const next =
      Next<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>(
          "pthread_create");
  const bool limited =
      std::getenv("MOE_MOST_THREADS") != nullptr && IsItsRank();
  if (++threads > Number("MOE_MOST_THREADS") && limited) {
    --threads;
    return EAGAIN;
  }
  auto* const counted = static_cast<Thread*>(std::malloc(sizeof(Thread)));
  *counted = {start, argument};
  return next(thread, attributes, Run, counted);
}

}  // extern "C"

// As the library's own, but for the one that is refused.
void* operator new(size_t size) {
  while (true) {
    void* const memory =
        RefusesNew() ? nullptr : std::malloc(size == 0 ? 1 : size);
    if (memory != nullptr) return memory;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
