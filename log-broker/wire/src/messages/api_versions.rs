//! ApiVersions (key 18): tells which calls and versions are served.

use crate::table;

table! {
    api ApiVersions = 18, versions 0..=4, flexible 3, ApiVersionsRequest => ApiVersionsResponse;

    ApiVersionsRequest {
        client_software_name: String [3..],
        client_software_version: String [3..],
    }

    ApiVersionsResponse {
        error_code: i16 [..],
        api_keys: Vec<ApiVersion> [..],
        throttle_time_ms: i32 [1..],
        supported_features: Vec<SupportedFeatureKey> [3..] tag 0,
        finalized_features_epoch: i64 [3..] tag 1 = -1,
        finalized_features: Vec<FinalizedFeatureKey> [3..] tag 2,
        zk_migration_ready: bool [3..] tag 3,
    }
    ApiVersion {
        api_key: i16 [..],
        min_version: i16 [..],
        max_version: i16 [..],
    }
    FinalizedFeatureKey {
        name: String [3..],
        max_version_level: i16 [3..],
        min_version_level: i16 [3..],
    }
    SupportedFeatureKey {
        name: String [3..],
        min_version: i16 [3..],
        max_version: i16 [3..],
    }
}
