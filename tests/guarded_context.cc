#include "tests/guarded_context.h"

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <iterator>
#include <utility>

#include "comm/base/check.h"
#include "comm/base/round_up.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

constexpr int64_t kRegionBytes = int64_t{16} << 30;
constexpr int64_t kPageBytes = 4096;

// The handler's: where the region is, and who was asked before.
const char* region_begin = nullptr;
struct sigaction handler_before;

// Says what happened; then the instruction is run again, under the handler that
// was there before.
void TellOfTouch(int, siginfo_t* info, void*) {
  const char* address = static_cast<const char*>(info->si_addr);
  if (address >= region_begin && address < region_begin + kRegionBytes) {
    constexpr char kText[] = "host code touched memory of the device\n";
    const ssize_t written = write(STDERR_FILENO, kText, sizeof(kText) - 1);
    static_cast<void>(written);
  }
  sigaction(SIGSEGV, &handler_before, nullptr);
}

void Copy(void* to, const void* from, size_t num_bytes) {
  if (num_bytes > 0) std::memmove(to, from, num_bytes);
}

}  // namespace

GuardedContext& GuardedContext::Get() {
  static GuardedContext& context = *new GuardedContext;
  return context;
}

GuardedContext::GuardedContext() {
  void* region = mmap(nullptr, static_cast<size_t>(kRegionBytes), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(region != MAP_FAILED);
  region_ = static_cast<char*>(region);
  region_begin = region_;
  struct sigaction action = {};
  action.sa_sigaction = TellOfTouch;
  action.sa_flags = SA_SIGINFO;
  CHECK(sigaction(SIGSEGV, &action, &handler_before) == 0);
}

absl::StatusOr<Buffer> GuardedContext::AllocateUninitialised(
    int64_t num_bytes) {
  CHECK(num_bytes >= 0);
  if (num_bytes == 0) return Buffer();
  const int64_t whole_pages = RoundUp(num_bytes, kPageBytes);
  if (whole_pages > kRegionBytes - used_)
    return absl::ResourceExhaustedError("the guarded region is full");
  const int64_t begin = Take(whole_pages);
  {
    const GuardedMemoryOpen open(*this);
    std::memset(region_ + begin, kGuardedPoison,
                static_cast<size_t>(num_bytes));
  }
  return Buffer::Adopt(
      region_ + begin, num_bytes, device(),
      [this, begin, whole_pages] { GiveBack(begin, whole_pages); });
}

absl::StatusOr<Buffer> GuardedContext::Allocate(int64_t num_bytes) {
  ASSIGN_OR_RETURN(Buffer buffer, AllocateUninitialised(num_bytes));
  const GuardedMemoryOpen open(*this);
  if (num_bytes > 0)
    std::memset(buffer.data(), 0, static_cast<size_t>(num_bytes));
  return buffer;
}

int64_t GuardedContext::Take(int64_t num_bytes) {
  for (auto gap = free_.begin(); gap != free_.end(); ++gap) {
    const auto [begin, size] = *gap;
    if (size < num_bytes) continue;
    free_.erase(gap);
    if (size > num_bytes) free_[begin + num_bytes] = size - num_bytes;
    return begin;
  }
  const int64_t begin = used_;
  used_ += num_bytes;
  if (open_ > 0) Protect(/*is_open=*/true);
  return begin;
}

void GuardedContext::GiveBack(int64_t begin, int64_t num_bytes) {
  const auto after = free_.lower_bound(begin);
  if (after != free_.end() && after->first == begin + num_bytes) {
    num_bytes += after->second;
    free_.erase(after);
  }
  const auto gap = free_.emplace(begin, num_bytes).first;
  if (gap == free_.begin()) return;
  const auto before = std::prev(gap);
  if (before->first + before->second != begin) return;
  before->second += num_bytes;
  free_.erase(gap);
}

void GuardedContext::Protect(bool is_open) const {
  if (used_ == 0) return;
  CHECK(mprotect(region_, static_cast<size_t>(used_),
                 is_open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0);
}

void GuardedContext::Upload(void* to, const void* from, int64_t num_bytes) {
  const GuardedMemoryOpen open(*this);
  Copy(to, from, static_cast<size_t>(num_bytes));
}

void GuardedContext::Download(void* to, const void* from, int64_t num_bytes) {
  if (num_bytes == 0) return;
  std::vector<char> bytes(static_cast<size_t>(num_bytes));
  const GuardedMemoryOpen open(*this);
  Copy(bytes.data(), from, bytes.size());
  std::memset(to, kGuardedPoison, bytes.size());
  downloads_.emplace_back(to, std::move(bytes));
}

absl::StatusOr<HostCopy> GuardedContext::StartCopy(ConstMemoryView from) {
  const auto num_bytes = static_cast<size_t>(from.count * SizeOf(from.dtype));
  auto bytes = std::make_shared<std::vector<char>>(num_bytes);
  auto host = std::make_shared<std::vector<char>>(
      num_bytes, static_cast<char>(kGuardedPoison));
  {
    const GuardedMemoryOpen open(*this);
    Copy(bytes->data(), from.data, num_bytes);
  }
  auto& [last, before] = copies_[num_bytes];
  before = std::exchange(last, host);
  return HostCopy(ConstMemoryView(host->data(), from.count, from.dtype),
                  [this, bytes, host] {
                    ++num_waits_;
                    Copy(host->data(), bytes->data(), bytes->size());
                    return absl::OkStatus();
                  });
}

absl::Status GuardedContext::Synchronize() {
  ++num_waits_;
  for (const auto& [to, bytes] : downloads_)
    Copy(to, bytes.data(), bytes.size());
  downloads_.clear();
  return absl::OkStatus();
}

GuardedMemoryOpen::GuardedMemoryOpen(GuardedContext& context)
    : context_(context) {
  if (context_.open_++ == 0) context_.Protect(/*is_open=*/true);
}

GuardedMemoryOpen::~GuardedMemoryOpen() {
  if (--context_.open_ == 0) context_.Protect(/*is_open=*/false);
}

GuardedMemoryClosed::GuardedMemoryClosed(GuardedContext& context)
    : context_(context), open_(std::exchange(context.open_, 0)) {
  if (open_ > 0) context_.Protect(/*is_open=*/false);
}

GuardedMemoryClosed::~GuardedMemoryClosed() {
  context_.open_ = open_;
  if (open_ > 0) context_.Protect(/*is_open=*/true);
}

}  // namespace moe
