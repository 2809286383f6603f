#include "moe/cpu/cpu_kernels.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/status/statusor.h"
#include "comm/base/check.h"
#include "comm/base/quiet_thread.h"
#include "comm/base/round_up.h"
#include "comm/base/status_macros.h"
#include "moe/cpu/matmul.h"

namespace moe::cpu {

namespace {

// OpenMP ends the process where it is refused a thread: so it is asked for all
// of them now, when others have shown that they can be had. They stay, since
// every loop takes all of them (ParallelFor).
absl::Status StartThreads(int threads) {
  if (threads == 1) return absl::OkStatus();
  RETURN_IF_ERROR(ProbeThreads("kernels", threads - 1));
  // A loop that did nothing would be no loop: the compiler leaves it out.
  std::atomic<int> num_started = 0;
#pragma omp parallel num_threads(threads)
  ++num_started;
  CHECK(num_started >= 1);
  return absl::OkStatus();
}

}  // namespace

CpuKernels::CpuKernels(int threads, DeviceContext& context)
    : context_(context), threads_(threads) {
  CHECK(threads >= 1);
  // oneDNN stays on the thread that calls it; our own loops name their number.
  omp_set_num_threads(1);
  if (absl::Status status = StartThreads(threads); !status.ok()) {
    threads_ = 1;
    SetError(std::move(status));
    return;
  }
  absl::StatusOr<std::unique_ptr<MatMulEngine>> matmul =
      MatMulEngine::Create(threads);
  if (matmul.ok()) {
    matmul_ = *std::move(matmul);
  } else {
    SetError(matmul.status());
  }
}

CpuKernels::~CpuKernels() = default;

void CpuKernels::SetError(absl::Status error) {
  if (status_.ok()) status_ = std::move(error);
}

ThreadScratch CpuKernels::ReserveThreadScratch(int64_t bytes_per_thread) {
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

std::vector<std::string> CpuKernels::MatMulImplementations() const {
  if (matmul_ == nullptr) return {};
  return matmul_->Implementations();
}

}  // namespace moe::cpu

namespace moe {

std::unique_ptr<Kernels> MakeCpuKernels(int threads, DeviceContext& context) {
  return std::make_unique<cpu::CpuKernels>(threads, context);
}

}  // namespace moe
