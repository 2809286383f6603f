#include "data/text/bpe_merger.h"

#include <algorithm>
#include <functional>

#include "comm/base/check.h"
#include "data/text/utf8.h"

namespace moe {
namespace {

constexpr int32_t kMergedAway = -2;

}  // namespace

void BpeMerger::Run(absl::string_view text) {
  CHECK(text.size() < kEnd);
  heap_.clear();
  parts_.clear();
  last_cut_ = 0;
  Split(text);
  for (uint32_t i = 0; i + 1 < symbols_.size(); ++i) Consider(i);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const uint64_t top = heap_.back();
    heap_.pop_back();
    const uint32_t left = static_cast<uint32_t>(top);
    const BpeVocabulary::Merge* merge = MergeAt(left);
    // A stale candidate of the same rank names the pair that is there now,
    // which has a candidate equal to it: whichever comes first is right.
    if (merge == nullptr || merge->rank != top >> 32) continue;
    Apply(left, merge->symbol);
  }
}

void BpeMerger::Split(absl::string_view text) {
  symbols_.clear();
  size_t offset = 0;
  while (offset < text.size()) {
    const absl::string_view rest = text.substr(offset);
    size_t length = user_defined_.Match(rest);
    const bool frozen = length > 0;
    if (!frozen) length = Utf8CharacterLength(rest);
    const uint32_t index = static_cast<uint32_t>(symbols_.size());
    symbols_.push_back({vocabulary_.Find(rest.substr(0, length)),
                        static_cast<uint32_t>(offset), index - 1, index + 1,
                        frozen});
    offset += length;
  }
  if (!symbols_.empty()) symbols_.back().next = kEnd;
}

const BpeVocabulary::Merge* BpeMerger::MergeAt(uint32_t left) const {
  const Symbol& symbol = symbols_[left];
  if (symbol.next == kEnd || symbol.frozen) return nullptr;
  const Symbol& right = symbols_[symbol.next];
  if (right.frozen) return nullptr;
  return vocabulary_.FindMerge(symbol.id, right.id);
}

void BpeMerger::Consider(uint32_t left) {
  const BpeVocabulary::Merge* merge = MergeAt(left);
  if (merge == nullptr) return;
  heap_.push_back(static_cast<uint64_t>(merge->rank) << 32 | left);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  if (vocabulary_.IsUnused(merge->symbol)) {
    parts_[merge->symbol] = {symbols_[left].id,
                             symbols_[symbols_[left].next].id};
  }
}

void BpeMerger::Apply(uint32_t left, int32_t merged) {
  Symbol& symbol = symbols_[left];
  Symbol& right = symbols_[symbol.next];
  symbol.id = merged;
  symbol.next = right.next;
  if (symbol.next != kEnd) symbols_[symbol.next].previous = left;
  right.id = kMergedAway;
  last_cut_ = right.begin;
  if (symbol.previous != kEnd) Consider(symbol.previous);
  Consider(left);
}

const std::pair<int32_t, int32_t>* BpeMerger::PartsOf(int32_t unused) const {
  const auto entry = parts_.find(unused);
  return entry == parts_.end() ? nullptr : &entry->second;
}

}  // namespace moe
