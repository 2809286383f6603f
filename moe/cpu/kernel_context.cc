#include "moe/cpu/kernel_context.h"

#include <omp.h>

#include <algorithm>

#include "absl/status/statusor.h"
#include "comm/check.h"
#include "comm/round_up.h"
#include "comm/status_macros.h"
#include "moe/cpu/matmul.h"

namespace moe {

KernelContext::KernelContext(int threads) : threads_(threads) {
  CHECK(threads >= 1);
  // oneDNN stays on the thread that calls it; our own loops name their number.
  omp_set_num_threads(1);
  absl::StatusOr<std::unique_ptr<MatMulEngine>> matmul =
      MatMulEngine::Create(threads);
  if (matmul.ok()) {
    matmul_ = *std::move(matmul);
  } else {
    SetError(matmul.status());
  }
}

KernelContext::~KernelContext() = default;

void KernelContext::SetError(absl::Status error) {
  if (status_.ok()) status_ = std::move(error);
}

ThreadScratch KernelContext::ReserveThreadScratch(int64_t bytes_per_thread) {
  // Whole pairs of cache lines, so that no two threads share one.
  constexpr int64_t kAlign = 128;
  const int64_t stride =
      RoundUp(std::max<int64_t>(bytes_per_thread, 1), kAlign);
  if (scratch_.num_bytes() < stride * threads_) {
    scratch_ = Buffer();  // before the larger one, not beside it
    absl::StatusOr<Buffer> larger = Buffer::Allocate(stride * threads_);
    if (!larger.ok()) {
      SetError(Annotate(larger.status(), "scratch memory of the kernels"));
      return ThreadScratch();
    }
    scratch_ = *std::move(larger);
  }
  return ThreadScratch(static_cast<std::byte*>(scratch_.data()), stride);
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

std::vector<std::string> MatMulImplementations(const KernelContext& context) {
  if (context.matmul() == nullptr) return {};
  return context.matmul()->Implementations();
}

ProgressScope::ProgressScope(KernelContext& context,
                             std::function<void()> progress)
    : context_(context) {
  context_.PushProgress(std::move(progress));
}

ProgressScope::~ProgressScope() { context_.PopProgress(); }

}  // namespace moe
