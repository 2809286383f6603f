#include "comm/plan_context.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/base/check.h"
#include "comm/base/round_up.h"

namespace moe {
namespace {

// No process has memory from here on: on x86-64 the upper bits of these are not
// all alike, which no address may be, and on Arm bit 55 means the kernel's.
constexpr uint64_t kFirstAddress = uint64_t{0x180} << 48;
// So many, then the first ones again: two tensors are rarely the same.
constexpr int64_t kAddresses = int64_t{1} << 54;
constexpr int64_t kAlignment = 64;

}  // namespace

absl::StatusOr<Buffer> PlanContext::AllocateUninitialised(int64_t num_bytes) {
  CHECK(num_bytes >= 0);
  if (num_bytes == 0) return Buffer();
  if (num_bytes > kAddresses - next_address_) next_address_ = 0;
  void* const data = reinterpret_cast<void*>(
      kFirstAddress + static_cast<uint64_t>(next_address_));
  if (num_bytes < kAddresses) next_address_ += RoundUp(num_bytes, kAlignment);
  live_bytes_ += num_bytes;
  return Buffer::Adopt(data, num_bytes, device(),
                       [this, num_bytes] { live_bytes_ -= num_bytes; });
}

void PlanContext::Download(void* to, const void*, int64_t num_bytes) {
  if (num_bytes > 0) std::memset(to, 0, static_cast<size_t>(num_bytes));
}

void PlanContext::Show(const void* address, std::vector<int64_t> values) {
  shown_at_ = address;
  shown_ = std::move(values);
}

absl::StatusOr<HostCopy> PlanContext::StartCopy(ConstMemoryView from) {
  if (from.data == shown_at_ && from.data != nullptr) {
    CHECK(from.dtype == DType::kInt64 &&
          from.count == static_cast<int64_t>(shown_.size()));
    shown_at_ = nullptr;
    return HostCopy({shown_.data(), from.count, from.dtype}, nullptr);
  }
  const auto words = static_cast<size_t>(
      CeilDiv(from.count * SizeOf(from.dtype), int64_t{sizeof(int64_t)}));
  if (zeros_.empty() || zeros_.back().size() < words) {
    const size_t last = zeros_.empty() ? 0 : zeros_.back().size();
    zeros_.emplace_back(std::max({words, 2 * last, size_t{1}}));
  }
  return HostCopy({zeros_.back().data(), from.count, from.dtype}, nullptr);
}

}  // namespace moe
