#include "comm/mpi/refused_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "comm/base/exit_code.h"
#include "comm/base/stack_trace.h"
#include "comm/mpi/mpi_runtime.h"

namespace moe {
namespace {

// For the removal and the watchdog's messages. Mapped, not of the heap: what is
// given back is address space too, where that is what is limited.
constexpr size_t kReserveBytes = size_t{4} << 20;

// Mutable globals, because a new-handler is called with nothing else at hand.
const char* program_name = "";
std::atomic<void*> reserve = nullptr;
std::atomic<bool> ending = false;
thread_local bool ends_the_process = false;
thread_local bool goes_on = false;

std::recursive_mutex removals_mutex;
RemovalAtEnd* first_removal = nullptr;

void GiveReserveBack() {
  void* const memory = reserve.exchange(nullptr);
  if (memory != nullptr) munmap(memory, kReserveBytes);
}

struct Text {
  char characters[384];
  int size;
};

long long ResidentMebibytes() {
  char statm[64] = "";
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  static_cast<void>(!read(file, statm, sizeof(statm) - 1));
  close(file);
  long long pages = 0;
  std::sscanf(statm, "%*s %lld", &pages);
  return pages * sysconf(_SC_PAGESIZE) >> 20;
}

// No memory but the stack's.
Text Describe() {
  const long long resident = ResidentMebibytes();
  rlimit limit = {};
  getrlimit(RLIMIT_AS, &limit);
  Text text;
  if (limit.rlim_cur == RLIM_INFINITY) {
    text.size =
        std::snprintf(text.characters, sizeof(text.characters),
                      "memory was refused: %lld MiB are resident", resident);
  } else {
    text.size = std::snprintf(
        text.characters, sizeof(text.characters),
        "memory was refused: %lld MiB are resident, at most %llu MiB of "
        "address space are allowed (ulimit -v)",
        resident, static_cast<unsigned long long>(limit.rlim_cur) >> 20);
  }
  return text;
}

void Say() {
  const Text text = Describe();
  char rank[32] = "";
  if (const LauncherEnvironment launcher = ReadLauncherEnvironment();
      launcher.world > 1)
    std::snprintf(rank, sizeof(rank), "rank %d: ", launcher.rank);
  char line[512];
  const int size =
      std::snprintf(line, sizeof(line), "%s: %s%.*s\n", program_name, rank,
                    text.size, text.characters);
  static_cast<void>(!write(STDERR_FILENO, line, static_cast<size_t>(size)));
}

// Step 1 and 2. Refused even then, nothing is left to do.
void PrepareTheEnd() {
  ends_the_process = true;
  GiveReserveBack();
  RemovalAtEnd::RemoveAll().unlock();  // the watchdog may write its report
}

// A new-handler: where it returns, operator new tries again.
void OnRefused() {
  const int exit_code = ExitCode(absl::ResourceExhaustedError(""));
  if (ends_the_process) std::_Exit(exit_code);
  if (ending.exchange(true)) {
    while (true) pause();
  }
  PrepareTheEnd();
  if (goes_on) return NoteRefusedMemory();
  if (!TellOfRefusedMemory()) Say();
  std::_Exit(exit_code);
}

}  // namespace

RemovalAtEnd::Lock RemovalAtEnd::Hold() { return Lock(removals_mutex); }

RemovalAtEnd::Lock RemovalAtEnd::RemoveAll() {
  Lock lock(removals_mutex);
  for (const RemovalAtEnd* removal = first_removal; removal != nullptr;
       removal = removal->next_)
    removal->remove_();
  return lock;
}

void EndWhereMemoryIsRefused(const char* program) {
  program_name = program;
  if (reserve == nullptr) {
    void* const memory = mmap(nullptr, kReserveBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) reserve = memory;
  }
  std::set_new_handler(OnRefused);
}

void GoOnWhereMemoryIsRefused() { goes_on = true; }

std::string RefusedMemoryText() {
  const Text text = Describe();
  return std::string(text.characters, static_cast<size_t>(text.size));
}

RemovalAtEnd::RemovalAtEnd(std::function<void()> remove)
    : remove_(std::move(remove)) {
  const Lock lock(removals_mutex);
  next_ = first_removal;
  if (next_ != nullptr) next_->before_ = this;
  first_removal = this;
}

RemovalAtEnd::~RemovalAtEnd() {
  const Lock lock(removals_mutex);
  if (next_ != nullptr) next_->before_ = before_;
  (before_ != nullptr ? before_->next_ : first_removal) = next_;
}

}  // namespace moe
