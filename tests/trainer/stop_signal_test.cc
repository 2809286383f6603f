#include "trainer/run/stop_signal.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include "moe/kernels.h"
#include "moe/tensor.h"

namespace moe {
namespace {

TEST(StopSignal, AsksAndIsNotForgotten) {
  InstallStopSignals();
  for (int signal : {SIGUSR1, SIGTERM, SIGHUP, SIGXCPU}) {
    ASSERT_EQ(std::raise(signal), 0);
    EXPECT_TRUE(StopSignalReceived());
  }
}

// Sends `signal` to `thread`, again and again, while it lives.
class SignalStorm {
 public:
  SignalStorm(pthread_t thread, int signal)
      : sender_([this, thread, signal] {
          while (!done_) {
            pthread_kill(thread, signal);
            std::this_thread::yield();
          }
        }) {}
  ~SignalStorm() {
    done_ = true;
    sender_.join();
  }

 private:
  std::atomic<bool> done_ = false;
  std::thread sender_;  // the last to be made: it reads done_
};

// Where the library's code lets the stack pointer point into a buffer of the
// heap, a signal's frame would overwrite what lies before that buffer.
TEST(StopSignal, MayComeDuringAMatrixProduct) {
  constexpr int64_t kRows = 96;
  constexpr int64_t kOutputs = 300;
  constexpr int64_t kInputs = 32;
  std::vector<float> d_y(kRows * kOutputs, 1);
  std::vector<float> w(kOutputs * kInputs, 1);
  std::vector<float> d_x(kRows * kInputs);
  const std::unique_ptr<Kernels> kernels = MakeCpuKernels(/*threads=*/1);
  InstallStopSignals();
  const SignalStorm storm(pthread_self(), SIGUSR1);
  for (int i = 0; i < 20000; ++i) {
    kernels->LinearInputGradient(
        {d_x.data(), {kRows, kInputs}, DType::kFloat32},
        {d_y.data(), {kRows, kOutputs}, DType::kFloat32},
        {w.data(), {kOutputs, kInputs}, DType::kFloat32}, /*accumulate=*/false);
  }
  EXPECT_EQ(d_x, std::vector<float>(d_x.size(), kOutputs));
}

}  // namespace
}  // namespace moe
