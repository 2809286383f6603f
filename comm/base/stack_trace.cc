#include "comm/base/stack_trace.h"

#include <execinfo.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>

#include "absl/debugging/symbolize.h"
#include "absl/strings/str_cat.h"
#include "comm/base/monotonic_time.h"

// There if AddressSanitizer is, which tells of crashes itself.
extern "C" void __asan_init() __attribute__((weak));

namespace moe {
namespace {

constexpr int kMaxFrames = 48;
// Where a frame of the kernel's and one of the handler's own come first.
constexpr int kHandlerFrames = 2;

// Where a signal's number stands otherwise.
constexpr int kRefusedMemory = -1;
constexpr int64_t kTenMilliseconds = 10'000'000;

constexpr int kCrashSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

struct Frames {
  std::array<void*, kMaxFrames> addresses;
  std::atomic<int> count = -1;  // -1: not there yet

  // Called from a signal handler.
  void Take() {
    count.store(backtrace(addresses.data(), kMaxFrames),
                std::memory_order_release);
  }
};

// Mutable globals, because a signal handler has nothing else to write to.
alignas(16) char signal_stack[size_t{1} << 16];
pthread_t main_thread;
std::atomic<bool> has_main_thread = false;
Frames main_frames;
Frames crash_frames;
std::atomic<int> crash_signal = 0;
std::atomic<bool> crash_was_told = false;
int crash_descriptor = -1;

int StackSignal() { return SIGRTMIN + 6; }

extern "C" void OnStackSignal(int) { main_frames.Take(); }

void Pause(int64_t nanoseconds) {
  timespec time = {.tv_sec = 0, .tv_nsec = nanoseconds};
  nanosleep(&time, nullptr);
}

// False: nobody can be told.
bool WakeTeller() {
  crash_frames.Take();
  const uint64_t one = 1;
  return write(crash_descriptor, &one, sizeof(one)) == sizeof(one);
}

// Called from a signal handler, too.
void TellCrash(int signal) {
  int none = 0;
  if (crash_signal.compare_exchange_strong(none, signal)) {
    if (!WakeTeller()) return;
    for (int i = 0; i < 200 && !crash_was_told; ++i) Pause(kTenMilliseconds);
  } else {
    // Another thread has crashed before, and is the one to be told of.
    for (int i = 0; i < 300; ++i) Pause(kTenMilliseconds);
  }
}

// The action was reset to the default one: the signal that is raised ends the
// process when this returns.
extern "C" void OnCrashSignal(int signal) {
  TellCrash(signal);
  raise(signal);
}

// `by_signal`: the first frame is where a signal came.
StackTrace Symbolize(const Frames& frames, bool by_signal) {
  StackTrace stack;
  const int count = frames.count.load(std::memory_order_acquire);
  for (int i = kHandlerFrames; i < count; ++i) {
    // A return address may lie behind the call's function. Where a signal came
    // may be a function's first byte.
    const int back = by_signal && i == kHandlerFrames ? 0 : 1;
    void* address = frames.addresses[static_cast<size_t>(i)];
    char name[512];
    stack.push_back(
        absl::Symbolize(static_cast<char*>(address) - back, name, sizeof(name))
            ? name
            : absl::StrCat(absl::Hex(reinterpret_cast<uintptr_t>(address))));
  }
  return stack;
}

}  // namespace

void UseSignalStack() {
  stack_t stack = {};
  sigaltstack(nullptr, &stack);
  if ((stack.ss_flags & SS_DISABLE) == 0) return;  // a sanitizer has made one
  stack.ss_sp = signal_stack;
  stack.ss_size = sizeof(signal_stack);
  stack.ss_flags = 0;
  sigaltstack(&stack, nullptr);
}

void InstallStackTraces() {
  absl::InitializeSymbolizer("/proc/self/exe");
  Frames first;  // loads the library that walks stacks, outside of handlers
  first.Take();
  UseSignalStack();
  main_thread = pthread_self();
  has_main_thread = true;
  struct sigaction action = {};
  action.sa_handler = OnStackSignal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(StackSignal(), &action, nullptr);
}

StackTrace StackOfMainThread(absl::Duration patience) {
  if (!has_main_thread) return {};
  main_frames.count = -1;
  if (pthread_kill(main_thread, StackSignal()) != 0) return {};
  const absl::Duration end = MonotonicTime() + patience;
  while (main_frames.count < 0) {
    if (MonotonicTime() > end) return {};
    Pause(1'000'000);
  }
  return Symbolize(main_frames, /*by_signal=*/true);
}

void InstallCrashHandlers(int wake_descriptor) {
  crash_descriptor = wake_descriptor;
  if (__asan_init != nullptr) return;
  struct sigaction action = {};
  action.sa_handler = OnCrashSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_ONSTACK);
  sigemptyset(&action.sa_mask);
  for (int signal : kCrashSignals) sigaction(signal, &action, nullptr);
}

Crash TheCrash() {
  Crash crash;
  crash.signal = crash_signal;
  if (crash.signal != 0) {
    crash.stack =
        Symbolize(crash_frames, /*by_signal=*/crash.signal != kRefusedMemory);
  }
  crash.refused_memory = crash.signal == kRefusedMemory;
  return crash;
}

void TellOfDefect() {
  if (crash_descriptor >= 0) TellCrash(SIGABRT);
}

bool TellOfRefusedMemory() {
  if (crash_descriptor < 0) return false;
  TellCrash(kRefusedMemory);
  if (!crash_was_told) return false;
  for (int i = 0; i < 1000; ++i) Pause(kTenMilliseconds);
  return true;
}

void NoteRefusedMemory() {
  int none = 0;
  if (crash_signal.compare_exchange_strong(none, kRefusedMemory)) WakeTeller();
}

void CrashWasTold() { crash_was_told = true; }

std::string SignalName(int signal) {
  const char* name = sigabbrev_np(signal);
  return name == nullptr ? absl::StrCat("signal ", signal)
                         : absl::StrCat("SIG", name);
}

}  // namespace moe
