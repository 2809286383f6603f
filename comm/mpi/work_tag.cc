#include "comm/mpi/work_tag.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "comm/base/check.h"
#include "comm/phase.h"

namespace moe {
namespace {

// Tags of the smallest MPI, which hold a sequence alone.
constexpr int64_t kNumSequenceTags = 32768;

}  // namespace

uint32_t Signature(const char* operation, const Position& position) {
  const int64_t numbers[] = {position.step, position.layer,
                             WireNumber(position.phase)};
  XXH64_hash_t hash = XXH3_64bits(numbers, sizeof(numbers));
  hash = XXH3_64bits_withSeed(operation, std::strlen(operation), hash);
  return static_cast<uint32_t>(hash);
}

int WorkTag(int64_t sequence, uint32_t signature, int max_tag) {
  CHECK(max_tag >= kNumSequenceTags - 1);
  const int64_t num_signatures = (int64_t{max_tag} + 1) / kNumSequenceTags;
  return static_cast<int>(signature % num_signatures * kNumSequenceTags +
                          2 * sequence % kNumSequenceTags);
}

}  // namespace moe
