#include "data/batch_loader.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "comm/base/check.h"
#include "comm/base/quiet_thread.h"

namespace moe {
namespace {

// The prepared one, and the one that was taken last and is still in use.
constexpr int64_t kNumBlocks = 2;

struct Block {
  int64_t first = 0;
  int64_t count = 0;
  // At least count * L tokens; they grow at a new largest count and stay.
  std::vector<int32_t> inputs;
  std::vector<int32_t> targets;
  std::vector<int32_t> positions;  // stays empty without reset_attention
  int64_t num_targets = 0;
  absl::Status status;
};

}  // namespace

// Block n of the loader's life lies in blocks[n % kNumBlocks]. The counters
// only grow: taken <= read <= prepared <= taken + 1 (where no thread could be
// had, read stays 0 and each Take says so). The thread owns the block number
// `read` while read < prepared, the caller the other.
struct BatchLoader::State {
  State(const SampleSequence& sequence, int64_t length, bool reset)
      : samples(sequence), sequence_length(length), reset_attention(reset) {}

  void Run();
  void Fill(Block& block) const;

  const SampleSequence& samples;
  const int64_t sequence_length;
  const bool reset_attention;
  std::array<Block, kNumBlocks> blocks;
  std::mutex mutex;
  std::condition_variable changed;
  int64_t prepared = 0;
  int64_t read = 0;
  int64_t taken = 0;
  bool stopping = false;
  absl::StatusOr<std::thread> thread;
};

void BatchLoader::State::Run() {
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    changed.wait(lock, [this] { return stopping || read < prepared; });
    if (stopping) return;
    Block& block = blocks[static_cast<size_t>(read % kNumBlocks)];
    lock.unlock();
    Fill(block);
    lock.lock();
    ++read;
    changed.notify_all();
  }
}

void BatchLoader::State::Fill(Block& block) const {
  const size_t length = static_cast<size_t>(sequence_length);
  const size_t tokens = static_cast<size_t>(block.count) * length;
  if (block.inputs.size() < tokens) {
    block.inputs.resize(tokens);
    block.targets.resize(tokens);
    if (reset_attention) block.positions.resize(tokens);
  }
  block.status = absl::OkStatus();
  for (int64_t i = 0; i < block.count && block.status.ok(); ++i) {
    const size_t at = static_cast<size_t>(i) * length;
    block.status = samples.Read(
        block.first + i, absl::MakeSpan(block.inputs).subspan(at, length),
        absl::MakeSpan(block.targets).subspan(at, length),
        reset_attention ? absl::MakeSpan(block.positions).subspan(at, length)
                        : absl::Span<int32_t>());
  }
  block.num_targets = static_cast<int64_t>(tokens);
  if (reset_attention) {
    const auto begin = block.targets.begin();
    block.num_targets -=
        std::count(begin, begin + block.count * sequence_length, -1);
  }
}

BatchLoader::BatchLoader(const SampleSequence& samples, int64_t sequence_length,
                         bool reset_attention)
    : state_(
          std::make_unique<State>(samples, sequence_length, reset_attention)) {
  state_->thread = StartQuietThread("batch_loader",
                                    [state = state_.get()] { state->Run(); });
}

BatchLoader::~BatchLoader() {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  if (state_->thread.ok()) state_->thread->join();
}

void BatchLoader::Prepare(int64_t first, int64_t count) {
  CHECK(first >= 0 && count >= 0);
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    CHECK(state_->prepared == state_->taken);
    Block& block =
        state_->blocks[static_cast<size_t>(state_->prepared % kNumBlocks)];
    block.first = first;
    block.count = count;
    ++state_->prepared;
  }
  state_->changed.notify_all();
}

absl::StatusOr<TokenBlock> BatchLoader::Take() {
  std::unique_lock<std::mutex> lock(state_->mutex);
  CHECK(state_->taken < state_->prepared);
  if (!state_->thread.ok()) {
    ++state_->taken;
    return state_->thread.status();
  }
  state_->changed.wait(lock, [this] { return state_->taken < state_->read; });
  const Block& block =
      state_->blocks[static_cast<size_t>(state_->taken % kNumBlocks)];
  ++state_->taken;
  if (!block.status.ok()) return block.status;
  const size_t tokens =
      static_cast<size_t>(block.count * state_->sequence_length);
  return TokenBlock{.count = block.count,
                    .inputs = {block.inputs.data(), tokens},
                    .targets = {block.targets.data(), tokens},
                    .positions = {block.positions.data(),
                                  state_->reset_attention ? tokens : 0},
                    .num_targets = block.num_targets};
}

}  // namespace moe
