#ifndef TESTS_FUZZ_READER_SEEDS_H_
#define TESTS_FUZZ_READER_SEEDS_H_

#include <map>
#include <string>

namespace moe {

// The seeds of tests/fuzz/seeds but for those that a fuzzer found: bytes by
// "TARGET/accepted_WHAT" or "TARGET/refused_WHY". By our own writers where
// there is one.
using SeedFiles = std::map<std::string, std::string>;

void AddSafetensorsSeeds(SeedFiles& seeds);
void AddCheckpointSeeds(SeedFiles& seeds);  // the JSON and text beside them
void AddConfigSeeds(SeedFiles& seeds);
void AddDataSeeds(SeedFiles& seeds);

}  // namespace moe

#endif  // TESTS_FUZZ_READER_SEEDS_H_
