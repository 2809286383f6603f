#ifndef TESTS_FUZZ_MUTATOR_H_
#define TESTS_FUZZ_MUTATOR_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace moe {

// Simple changes of seeds, the same on every machine for the same number: bits
// flipped, bytes and numbers replaced by edge cases, ranges cut out, doubled,
// truncated, and halves of two seeds joined. No coverage guides it; libFuzzer
// does that where there is one.
class Mutator {
 public:
  // At least one seed; they must outlive the mutator.
  Mutator(const std::vector<std::string>& seeds, uint64_t number)
      : seeds_(seeds), random_(number) {}

  // One of the seeds with one to four changes.
  std::string Next();

 private:
  size_t Below(size_t limit) { return random_() % limit; }
  void Change(std::string& bytes);
  void FlipBit(std::string& bytes);
  void ReplaceByte(std::string& bytes);
  void ReplaceBinaryNumber(std::string& bytes);
  void ReplaceDecimalNumber(std::string& bytes);
  void InsertByte(std::string& bytes);
  void DoubleRange(std::string& bytes);
  void EraseRange(std::string& bytes);
  void Truncate(std::string& bytes);
  void JoinWithAnother(std::string& bytes);

  const std::vector<std::string>& seeds_;
  std::mt19937_64 random_;
};

}  // namespace moe

#endif  // TESTS_FUZZ_MUTATOR_H_
