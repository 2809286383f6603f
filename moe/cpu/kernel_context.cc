#include "moe/cpu/kernel_context.h"

#include <omp.h>

#include <algorithm>

#include "absl/status/statusor.h"
#include "comm/check.h"

namespace moe {

KernelContext::KernelContext(int threads) : threads_(threads) {
  CHECK(threads >= 1);
  omp_set_num_threads(threads);  // for oneDNN's own loops
}

KernelContext::~KernelContext() = default;

void KernelContext::SetError(absl::Status error) {
  if (status_.ok()) status_ = std::move(error);
}

ThreadScratch KernelContext::ReserveThreadScratch(int64_t bytes_per_thread) {
  // Whole pairs of cache lines, so that no two threads share one.
  constexpr int64_t kAlign = 128;
  const int64_t stride = (bytes_per_thread + kAlign - 1) / kAlign * kAlign;
  void* data = ReserveScratch(ScratchUser::kKernel, stride * threads_);
  return ThreadScratch(static_cast<std::byte*>(data), stride);
}

void* KernelContext::ReserveScratch(ScratchUser user, int64_t num_bytes) {
  Buffer& scratch = scratch_[static_cast<size_t>(user)];
  if (scratch.num_bytes() < num_bytes || scratch.data() == nullptr) {
    scratch = Buffer();  // before the larger one, not beside it
    absl::StatusOr<Buffer> larger =
        Buffer::Allocate(std::max<int64_t>(num_bytes, 1));
    if (!larger.ok()) {
      SetError(larger.status());
      return nullptr;
    }
    scratch = *std::move(larger);
  }
  return scratch.data();
}

void KernelContextDeleter::operator()(KernelContext* context) const {
  delete context;
}

KernelContextPtr MakeKernelContext(int threads) {
  return KernelContextPtr(new KernelContext(threads));
}

absl::Status KernelStatus(const KernelContext& context) {
  return context.status();
}

void SetProgress(KernelContext& context, std::function<void()> progress) {
  context.set_progress(std::move(progress));
}

}  // namespace moe
